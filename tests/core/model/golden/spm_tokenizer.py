# SPDX-License-Identifier: Apache-2.0
# Writes spm_tokenizer.json: python spm_tokenizer.py > spm_tokenizer.json
# A hand-made SentencePiece BPE vocabulary, and the ids that the sentencepiece package gives for random and chosen texts.
import importlib.metadata as meta
import json
import random

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

rng = random.Random(11)
SPACE = "\u2581"
letters = list("abcdeé€") + [SPACE]
pieces = list(letters)
while len(pieces) < 70:
    new = rng.choice(pieces) + rng.choice(pieces)
    if new not in pieces and len(new) < 9 and SPACE not in new[1:]:
        pieces.append(new)
scored = [(p, float(-1000 - i)) for i, p in enumerate(letters)]
scored += [(p, float(-rng.randrange(40))) for p in pieces[len(letters):]]  # scores with ties, not in order of length


def processor(byte_fallback, prefix):
    m = pb.ModelProto()
    m.trainer_spec.model_type = 2  # BPE
    m.trainer_spec.byte_fallback = byte_fallback
    m.normalizer_spec.name = "identity"
    m.normalizer_spec.add_dummy_prefix = prefix
    m.normalizer_spec.remove_extra_whitespaces = False
    m.normalizer_spec.escape_whitespaces = True
    vocabulary = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    if byte_fallback:
        vocabulary += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    vocabulary += [(p, s, 1) for p, s in scored]
    for piece, score, kind in vocabulary:
        m.pieces.add(piece=piece, score=score, type=kind)
    sp = sentencepiece.SentencePieceProcessor()
    sp.LoadFromSerializedProto(m.SerializeToString())
    return vocabulary, sp


texts = ["", " ", "a", "abc", " abc", "a b  c", "<s> abc </s>", "xyz", "a xx b\nyy", "é€é €", "😀abc😀😀", SPACE + "a", "<0x41>"]
for _ in range(60):
    texts.append("".join(rng.choice("abcde   é€axQ\n") for _ in range(rng.randrange(1, 60))))
out = {"generator": f"spm_tokenizer.py, sentencepiece {meta.version('sentencepiece')}, command: python spm_tokenizer.py",
       "models": []}
for fallback, prefix in [(True, True), (True, False), (False, True)]:
    vocabulary, sp = processor(fallback, prefix)
    out["models"].append({"space_prefix": prefix, "tokens": [v[0] for v in vocabulary], "scores": [v[1] for v in vocabulary],
                          "types": [v[2] for v in vocabulary], "ids": [sp.EncodeAsIds(t) for t in texts]})
out["texts"] = texts
lines = json.dumps(out, ensure_ascii=True)
print(lines.replace('], ', '],\n'))
