"""Make a Llama of random weights as one file: `python random_gguf.py FILE`.

Run by the Python of a server's own environment. Its words are printable letters: what stands for a
byte, or for the end, has no weight in the answer.
"""

import sys

import gguf
import numpy as np

SIZE, HIDDEN, LAYERS, HEADS, CONTEXT = 64, 128, 2, 2, 512
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
KIND = gguf.TokenType
kinds = {"<unk>": KIND.UNKNOWN, "<s>": KIND.CONTROL, "</s>": KIND.CONTROL}
kinds |= {f"<0x{n:02X}>": KIND.BYTE for n in range(256)}
first = len(kinds)
kinds |= dict.fromkeys(("▁", *map(chr, range(33, 127))), KIND.NORMAL)

writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(SIZE)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(HIDDEN)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_rope_dimension_count(SIZE // HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(len(kinds))
writer.add_tokenizer_model("llama")
writer.add_token_list(list(kinds))
writer.add_token_scores([0.0] * len(kinds))
writer.add_token_types(list(kinds.values()))
writer.add_unk_token_id(0)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_chat_template(TEMPLATE)

random = np.random.default_rng(7)


def add(name: str, *shape: int) -> None:
    writer.add_tensor(f"{name}.weight", random.normal(0, 0.3, shape).astype(np.float32))


def add_norm(name: str) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(SIZE, np.float32))


add("token_embd", len(kinds), SIZE)
for layer in range(LAYERS):
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.{layer}.{part}", SIZE, SIZE)
    add(f"blk.{layer}.ffn_gate", HIDDEN, SIZE)
    add(f"blk.{layer}.ffn_up", HIDDEN, SIZE)
    add(f"blk.{layer}.ffn_down", SIZE, HIDDEN)
    add_norm(f"blk.{layer}.attn_norm")
    add_norm(f"blk.{layer}.ffn_norm")
add_norm("output_norm")
output = random.normal(0, 0.3, (len(kinds), SIZE)).astype(np.float32)
output[:first] = 0
writer.add_tensor("output.weight", output)

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
