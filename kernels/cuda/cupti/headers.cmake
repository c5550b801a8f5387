# SPDX-License-Identifier: Apache-2.0
# xqs_cupti_headers: CUPTI's headers, where there are some of version 13 or newer; else nothing. XQS_CUPTI_SOURCES: what the module then has of this
# folder. The library itself is opened at run time.
include(CheckCXXSourceCompiles)
find_package(CUDAToolkit QUIET) # its headers: cuda.h
find_path(XQS_CUPTI_INCLUDE cupti_range_profiler.h DOC "Folder of CUPTI's headers"
  HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDA_PATH PATH_SUFFIXES include extras/CUPTI/include ../extras/CUPTI/include)
set(CMAKE_REQUIRED_INCLUDES ${CUDAToolkit_INCLUDE_DIRS} ${XQS_CUPTI_INCLUDE})
check_cxx_source_compiles("
  #include <cupti_activity.h>
  #include <cupti_pmsampling.h>
  #include <cupti_profiler_host.h>
  #include <cupti_range_profiler.h>
  #include <cupti_target.h>
  #include <cupti_version.h>
  static_assert(CUPTI_API_VERSION >= 130000);
  int main() {}" XQS_HAS_CUPTI)
if(NOT TARGET xqs_cupti_headers)
  add_library(xqs_cupti_headers INTERFACE)
  if(XQS_HAS_CUPTI)
    target_include_directories(xqs_cupti_headers SYSTEM INTERFACE ${CMAKE_REQUIRED_INCLUDES})
  else()
    message(STATUS "No CUPTI headers of CUDA 13: the CUDA backend is built without counters")
  endif()
endif()
unset(CMAKE_REQUIRED_INCLUDES)

file(GLOB XQS_CUPTI_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
if(XQS_HAS_CUPTI)
  list(FILTER XQS_CUPTI_SOURCES EXCLUDE REGEX "/without_headers\\.cpp$")
else()
  list(FILTER XQS_CUPTI_SOURCES INCLUDE REGEX "/(states|without_headers)\\.cpp$")
endif()
