r"""The `.tok` format: codes on disk, checked, seekable, and readable up to a cut. NumPy only.

All numbers are little-endian and unsigned. A file is a header, blocks and a trailer:

    header    magic    4 bytes  89 54 4F 4B ("\x89TOK")
              version  u8       1 with fixed coding, else 2
              length   u16      bytes of the fields that follow, without the CRC
              fingerprint  8 bytes  of the model; in text, 16 hex digits
              sample_rate  u32      Hz, of the model
              hop_length   u16      samples per frame: frame rate = sample_rate / hop_length, exact
              original_sample_rate  u32  Hz, of the audio that was encoded
              channels     u16
              block_frames u8       frames in every block but the last
              runs         u8       then, for each run of equal codebooks:
                                    u8 number of codebooks, u32 size of each
              name         u8 length and so many bytes of UTF-8: the model's name
              coding       u8 length and so many bytes of UTF-8: "context"; from version 2 on
              context      8 bytes  fingerprint of the context model; from version 2 on
              CRC      u32      of all bytes before it
    blocks    frames   u8       block_frames; in the last block 1 to block_frames
              codes             packed, zero bits up to a whole byte; or context-coded
              CRC      u32      of the block's number (u32, from 0; not stored), frames and codes
    trailer   mark     u8       0, where a block has its number of frames
              num_samples  u64  per channel, at original_sample_rate
              CRC      u32      of mark and num_samples

CRC is CRC-32 as in zip and PNG. Codes are ordered by frame; within a frame by channel; within a
channel by codebook. With fixed coding, a code of a codebook of `size` entries takes
ceil(log2(size)) bits, highest bit first, with no gap between codes. With context coding, an entropy
coder writes codes by frame, codebook and channel in the bits that a context model gives them
(:mod:`audiocodec.tokens.context`); their bytes are preceded by their number in groups of seven
bits, lowest first, whose highest bit says that another follows (LEB128).

With fixed coding every block but the last has the same length, so block i begins at `header + i *
block` and the file needs no index. With context coding a reader goes from block to block by their
lengths; the context starts anew in each, so any block can be decoded alone, and several side by
side. Lengths are exact: the signal that the model encoded has
ceil(num_samples * sample_rate / original_sample_rate) samples, and ceil(that / hop_length) frames.
A reader skips header bytes that follow the fields it knows, and refuses a greater version.

A file without its trailer was cut short. It can be read up to the cut. The block that it ends in
has lost its CRC; its whole frames are read without a check.

Blocks of three seconds and a header of about 50 bytes keep the overhead under 5 % for 10 s or more
at 1.5 kbit/s. A JSON header with the same fields would take 10 % by itself.
"""

from audiocodec.tokens.blocks import BlockReader
from audiocodec.tokens.header import SUFFIX, VERSION, TokenHeader
from audiocodec.tokens.jitter import Counts, JitterBuffer, Turn
from audiocodec.tokens.model import token_header
from audiocodec.tokens.opening import TokenSource, find_tokens, open_tokens
from audiocodec.tokens.packets import PacketDecoder, PacketEncoder, Received
from audiocodec.tokens.packing import Codes, pack, unpack
from audiocodec.tokens.reader import TokenFile
from audiocodec.tokens.writer import TokenWriter, save_codes

__all__ = [
    "SUFFIX",
    "VERSION",
    "BlockReader",
    "Codes",
    "Counts",
    "JitterBuffer",
    "PacketDecoder",
    "PacketEncoder",
    "Received",
    "TokenFile",
    "TokenHeader",
    "TokenSource",
    "TokenWriter",
    "Turn",
    "find_tokens",
    "open_tokens",
    "pack",
    "save_codes",
    "token_header",
    "unpack",
]
