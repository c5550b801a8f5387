// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "library.h"

#include <memory>

namespace xqs::cuda::cupti {

/// Has CUPTI call back where the driver does something, while it lives. A process can have one.
class Subscription {
public:
  template <typename Ids>
  Subscription(const Library &cupti, CUpti_CallbackDomain domain, const Ids &ids, CUpti_CallbackFunc callback, void *user)
      : m_owner(subscribe(cupti, callback, user), Unsubscribe{&cupti}) {
    for (const auto id : ids)
      cupti.call(cupti.cuptiEnableCallback, 1u, m_owner.get(), domain, static_cast<CUpti_CallbackId>(id));
  }

private:
  struct Unsubscribe {
    const Library *cupti;
    void operator()(CUpti_SubscriberHandle handle) const noexcept { (void)cupti->cuptiUnsubscribe.pointer(handle); }
  };
  static CUpti_SubscriberHandle subscribe(const Library &cupti, CUpti_CallbackFunc callback, void *user) {
    CUpti_SubscriberHandle handle = nullptr;
    cupti.call(cupti.cuptiSubscribe, &handle, callback, user);
    return handle;
  }
  std::unique_ptr<CUpti_Subscriber_st, Unsubscribe> m_owner;
};

} // namespace xqs::cuda::cupti
