#ifndef THAWFS_CZLIB_SHIM_H
#define THAWFS_CZLIB_SHIM_H

#include <zlib.h>

/* inflateInit2 is a macro, which Swift does not import. 16 added to the window's bits: gzip, and nothing else. */
static inline int thaw_zlib_gunzip_init(z_stream *stream) { return inflateInit2(stream, MAX_WBITS + 16); }

#endif
