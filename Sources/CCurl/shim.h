#ifndef THAWFS_CCURL_SHIM_H
#define THAWFS_CCURL_SHIM_H

#include <curl/curl.h>

#endif
