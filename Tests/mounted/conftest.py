import pytest

from support.archive import ARCHIVES


@pytest.fixture(params=["oss", "s3"])
def archive(request):
    """Each dialect's archive classes in turn."""
    return ARCHIVES[request.param]
