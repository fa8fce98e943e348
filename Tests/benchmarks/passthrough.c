/* The floor of FUSE: a directory of this machine, mounted read-only through libfuse's low-level interface.
 *
 *     passthrough SOURCE plain|xattr -f MOUNTPOINT
 *
 * It does what libfuse's example passthrough_ll does with its defaults, and has its settings: readdirplus as the kernel
 * likes it, replies spliced from the file's descriptor, names and attributes valid for a second, no keep_cache, as many
 * threads as libfuse starts. Inodes are in a hash table, where the example has a list, and only directories keep a
 * descriptor, where in the example all inodes do: a hundred thousand would not be allowed.
 * With `xattr` it has extended attributes as well (the example's `-o xattr`): `ls -l` asks for an access list of each file.
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BUCKETS = 1 << 18 };
static const double VALID_SECONDS = 1.0;

struct inode {
    struct inode *next;
    struct inode *parent; /* counts this as one of its lookups */
    char *name;
    int fd; /* of a directory, O_PATH; else -1 */
    ino_t ino;
    dev_t dev;
    uint64_t lookups;
};

struct directory {
    DIR *stream;
    struct dirent *entry; /* read, and not given yet */
    off_t offset;
};

static struct inode root = {.lookups = 2};
static struct inode *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct inode *inode_of(fuse_ino_t number) {
    return number == FUSE_ROOT_ID ? &root : (struct inode *)(uintptr_t)number;
}

static struct inode **bucket_of(ino_t ino, dev_t dev) {
    return &buckets[(ino * 0x9E3779B97F4A7C15u ^ dev) >> 20 & (BUCKETS - 1)];
}

static struct inode *make(struct inode *parent, const char *name, const struct stat *found) {
    struct inode *inode = calloc(1, sizeof *inode);
    if (!inode || !(inode->name = strdup(name))) {
        free(inode);
        return NULL;
    }
    inode->fd = S_ISDIR(found->st_mode) ? openat(parent->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW) : -1;
    if (S_ISDIR(found->st_mode) && inode->fd < 0) {
        free(inode->name);
        free(inode);
        return NULL;
    }
    inode->ino = found->st_ino;
    inode->dev = found->st_dev;
    inode->parent = parent;
    parent->lookups++;
    return inode;
}

/* Looks a name up and counts that; answers 0 or an errno. */
static int find(fuse_ino_t number, const char *name, struct fuse_entry_param *entry) {
    struct inode *parent = inode_of(number);
    memset(entry, 0, sizeof *entry);
    entry->attr_timeout = entry->entry_timeout = VALID_SECONDS;
    if (fstatat(parent->fd, name, &entry->attr, AT_SYMLINK_NOFOLLOW) < 0) return errno;
    ino_t ino = entry->attr.st_ino;
    dev_t dev = entry->attr.st_dev;
    pthread_mutex_lock(&lock);
    struct inode **bucket = bucket_of(ino, dev), *inode = *bucket;
    while (inode && (inode->ino != ino || inode->dev != dev)) inode = inode->next;
    if (!inode && (inode = make(parent, name, &entry->attr))) {
        inode->next = *bucket;
        *bucket = inode;
    }
    if (inode) inode->lookups++;
    pthread_mutex_unlock(&lock);
    entry->ino = (uintptr_t)inode;
    return inode ? 0 : ENOMEM;
}

static void lose(fuse_ino_t number, uint64_t lookups) {
    pthread_mutex_lock(&lock);
    for (struct inode *inode = inode_of(number); inode != &root;) {
        inode->lookups -= lookups;
        if (inode->lookups > 0) break;
        struct inode **link = bucket_of(inode->ino, inode->dev), *parent = inode->parent;
        while (*link != inode) link = &(*link)->next;
        *link = inode->next;
        if (inode->fd >= 0) close(inode->fd);
        free(inode->name);
        free(inode);
        inode = parent;
        lookups = 1;
    }
    pthread_mutex_unlock(&lock);
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    struct fuse_entry_param entry;
    int error = find(parent, name, &entry);
    if (error) fuse_reply_err(request, error);
    else fuse_reply_entry(request, &entry);
}

static void on_forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
    lose(number, lookups);
    fuse_reply_none(request);
}

static void on_forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets) {
    for (size_t i = 0; i < count; i++) lose(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(request);
}

static void on_getattr(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info) {
    (void)info;
    struct inode *inode = inode_of(number);
    struct stat attributes;
    int error = inode->fd >= 0 ? fstat(inode->fd, &attributes)
                               : fstatat(inode->parent->fd, inode->name, &attributes, AT_SYMLINK_NOFOLLOW);
    if (error) fuse_reply_err(request, errno);
    else fuse_reply_attr(request, &attributes, VALID_SECONDS);
}

static void on_open(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info) {
    if ((info->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(request, EROFS);
        return;
    }
    struct inode *inode = inode_of(number);
    int fd = openat(inode->parent->fd, inode->name, O_RDONLY);
    if (fd < 0) {
        fuse_reply_err(request, errno);
        return;
    }
    info->fh = fd;
    fuse_reply_open(request, info);
}

static void on_read(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)number;
    struct fuse_bufvec source = FUSE_BUFVEC_INIT(size);
    source.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    source.buf[0].fd = (int)info->fh;
    source.buf[0].pos = offset;
    fuse_reply_data(request, &source, FUSE_BUF_SPLICE_MOVE);
}

static void on_release(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info) {
    (void)number;
    close((int)info->fh);
    fuse_reply_err(request, 0);
}

static void on_opendir(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info) {
    int fd = openat(inode_of(number)->fd, ".", O_RDONLY | O_DIRECTORY);
    struct directory *directory = fd < 0 ? NULL : calloc(1, sizeof *directory);
    if (!directory || !(directory->stream = fdopendir(fd))) {
        int error = errno;
        free(directory);
        if (fd >= 0) close(fd);
        fuse_reply_err(request, error);
        return;
    }
    info->fh = (uintptr_t)directory;
    fuse_reply_open(request, info);
}

static void list(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct directory *directory,
                 int plus) {
    char *buffer = malloc(size);
    size_t used = 0;
    if (!buffer) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    if (offset != directory->offset) {
        seekdir(directory->stream, offset);
        directory->entry = NULL;
        directory->offset = offset;
    }
    for (;;) {
        if (!directory->entry && !(directory->entry = readdir(directory->stream))) break;
        const struct dirent *found = directory->entry;
        struct fuse_entry_param entry = {.attr = {.st_ino = found->d_ino, .st_mode = (mode_t)found->d_type << 12}};
        int is_dot = !strcmp(found->d_name, ".") || !strcmp(found->d_name, "..");
        size_t length;
        if (plus) {
            if (!is_dot && find(number, found->d_name, &entry)) break;
            length = fuse_add_direntry_plus(request, buffer + used, size - used, found->d_name, &entry, found->d_off);
        } else {
            length =
                fuse_add_direntry(request, buffer + used, size - used, found->d_name, &entry.attr, found->d_off);
        }
        if (length > size - used) {
            if (plus && !is_dot) lose(entry.ino, 1);
            break;
        }
        used += length;
        directory->offset = found->d_off;
        directory->entry = NULL;
    }
    fuse_reply_buf(request, buffer, used);
    free(buffer);
}

static void on_readdir(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                       struct fuse_file_info *info) {
    list(request, number, size, offset, (struct directory *)(uintptr_t)info->fh, 0);
}

static void on_readdirplus(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                           struct fuse_file_info *info) {
    list(request, number, size, offset, (struct directory *)(uintptr_t)info->fh, 1);
}

static void on_releasedir(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info) {
    (void)number;
    struct directory *directory = (struct directory *)(uintptr_t)info->fh;
    closedir(directory->stream);
    free(directory);
    fuse_reply_err(request, 0);
}

static void on_getxattr(fuse_req_t request, fuse_ino_t number, const char *name, size_t size) {
    struct inode *inode = inode_of(number);
    char path[4096], value[65536];
    if (inode->fd >= 0) snprintf(path, sizeof path, "/proc/self/fd/%d/.", inode->fd);
    else snprintf(path, sizeof path, "/proc/self/fd/%d/%s", inode->parent->fd, inode->name);
    ssize_t length = lgetxattr(path, name, value, size < sizeof value ? size : sizeof value);
    if (length < 0) fuse_reply_err(request, errno);
    else if (size == 0) fuse_reply_xattr(request, (size_t)length);
    else fuse_reply_buf(request, value, (size_t)length);
}

static struct fuse_lowlevel_ops operations = {
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .release = on_release,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
    .releasedir = on_releasedir,
};

int main(int count, char *words[]) {
    if (count < 4 || (root.fd = open(words[1], O_PATH | O_DIRECTORY)) < 0) {
        fprintf(stderr, "usage: %s SOURCE plain|xattr -f MOUNTPOINT\n", words[0]);
        return 2;
    }
    if (!strcmp(words[2], "xattr")) operations.getxattr = on_getxattr;
    words[2] = words[0];
    struct fuse_args arguments = FUSE_ARGS_INIT(count - 2, words + 2);
    struct fuse_cmdline_opts options;
    struct fuse_session *session = NULL;
    int status = 1;
    if (fuse_parse_cmdline(&arguments, &options) != 0 || !options.mountpoint) return 2;
    session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (session && fuse_set_signal_handlers(session) == 0) {
        if (fuse_session_mount(session, options.mountpoint) == 0) {
            struct fuse_loop_config *config = fuse_loop_cfg_create();
            status = config ? fuse_session_loop_mt(session, config) != 0 : 1;
            fuse_loop_cfg_destroy(config);
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    }
    if (session) fuse_session_destroy(session);
    free(options.mountpoint);
    fuse_opt_free_args(&arguments);
    return status;
}
