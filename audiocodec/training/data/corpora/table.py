"""The public corpora that a recipe can name, one entry for each archive.

Checksums: torchaudio 2.11 (torchaudio/datasets/librispeech.py, libritts.py, vctk.py, ljspeech.py).
Sizes and hours: rounded, not checked against a download; those of LibriTTS are of Zen et al. 2019
(arXiv 1904.02882). Sizes of unpacked WAV follow from hours and sample rate.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class PublicCorpus:
    """An archive of speech, and what it unpacks to."""

    title: str
    page: str
    """Where people read about it, and can download it."""
    licence: str
    url: str
    """Of the archive: ``.tar.gz``, ``.tar.bz2`` or ``.zip``."""
    checksum: str
    """SHA-256; or ``md5:`` and the MD5, if only that is known."""
    gigabytes: float
    """Of the archive, about."""
    unpacked: float
    """Gigabytes, about."""
    hours: float
    """Of the audio that is used, about."""
    folder: str
    """What the archive becomes, below ``data.root``."""
    file_name: str
    """Regular expression that the names of its files match, and no other corpus's; group 1 is the
    speaker."""
    torchaudio: str = ""
    """The class of ``torchaudio.datasets`` that downloads it too, if there is one."""
    subset: str = ""
    """That class's argument ``url``."""
    audio: str = "."
    """Where the audio is in ``folder``."""
    ignored: str = ""
    """Audio that is not used: a pattern of file names."""
    has_top_folder: bool = True
    """Whether the archive holds ``folder``, or what is in it."""

    @property
    def archive(self) -> str:
        """The archive's file name."""
        return PurePosixPath(self.url).name


LIBRISPEECH_SIZES = {
    "train-clean-100": (6.3, 100.6),
    "train-clean-360": (23.0, 363.6),
    "train-other-500": (30.0, 496.7),
    "dev-clean": (0.34, 5.4),
    "dev-other": (0.31, 5.3),
    "test-clean": (0.35, 5.4),
    "test-other": (0.33, 5.1),
}
"""Subset -> gigabytes of its archive, hours."""

LIBRISPEECH_SHA256 = {
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
}

LIBRITTS_SIZES = {
    "train-clean-100": (7.7, 53.8),
    "train-clean-360": (27.0, 191.3),
    "train-other-500": (44.0, 310.1),
    "dev-clean": (1.2, 9.0),
    "dev-other": (0.92, 6.4),
    "test-clean": (1.2, 8.6),
    "test-other": (0.96, 6.7),
}
"""Subset -> gigabytes of its archive, hours."""

LIBRITTS_SHA256 = {
    "train-clean-100": "c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b",
    "train-clean-360": "ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886",
    "train-other-500": "e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df",
    "dev-clean": "da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a",
    "dev-other": "d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c",
    "test-clean": "234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
    "test-other": "33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d",
}

LIBRISPEECH = {
    f"librispeech/{subset}": PublicCorpus(
        title=f"LibriSpeech {subset}",
        page="https://www.openslr.org/12",
        licence="CC BY 4.0",
        url=f"https://www.openslr.org/resources/12/{subset}.tar.gz",
        checksum=LIBRISPEECH_SHA256[subset],
        gigabytes=gigabytes,
        unpacked=gigabytes,  # FLAC
        hours=hours,
        folder=f"LibriSpeech/{subset}",
        file_name=r"(\d+)-\d+-\d+\.",
        torchaudio="LIBRISPEECH",
        subset=subset,
    )
    for subset, (gigabytes, hours) in LIBRISPEECH_SIZES.items()
}

LIBRITTS = {
    f"libritts/{subset}": PublicCorpus(
        title=f"LibriTTS {subset}",
        page="https://www.openslr.org/60",
        licence="CC BY 4.0",
        url=f"https://www.openslr.org/resources/60/{subset}.tar.gz",
        checksum=LIBRITTS_SHA256[subset],
        gigabytes=gigabytes,
        unpacked=hours * 3600 * 24000 * 2 / 1e9,  # WAV
        hours=hours,
        folder=f"LibriTTS/{subset}",
        file_name=r"(\d+)_\d+_\d+_\d+\.",
        torchaudio="LIBRITTS",
        subset=subset,
    )
    for subset, (gigabytes, hours) in LIBRITTS_SIZES.items()
}

VCTK = PublicCorpus(
    title="VCTK 0.92",
    page="https://datashare.ed.ac.uk/handle/10283/3443",
    licence="CC BY 4.0",
    url="https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
    checksum="f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
    gigabytes=11.7,
    unpacked=11.8,  # FLAC
    hours=44.0,
    folder="VCTK-Corpus-0.92",
    audio="wav48_silence_trimmed",
    file_name=r"([ps]\d+)_\d+(_mic\d)?\.",
    ignored="*_mic2.*",  # the same speech at a second microphone
    torchaudio="VCTK_092",
    has_top_folder=False,
)

LJSPEECH = PublicCorpus(
    title="LJ Speech 1.1",
    page="https://keithito.com/LJ-Speech-Dataset",
    licence="public domain",
    url="https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    checksum="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    gigabytes=2.7,
    unpacked=3.8,
    hours=23.9,
    folder="LJSpeech-1.1",
    audio="wavs",
    file_name=r"(LJ)\d+-\d+\.",
    torchaudio="LJSPEECH",
)

CORPORA: dict[str, PublicCorpus] = {
    **LIBRISPEECH,
    **LIBRITTS,
    "vctk": VCTK,
    "ljspeech": LJSPEECH,
}
"""By the names that recipes use."""
