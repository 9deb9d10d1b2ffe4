"""The codec as a web page: plain files that need no server of their own."""

from audiocodec.web.site import Site, write_site

__all__ = ["Site", "write_site"]
