/// What the kernel asks. Called on the reader threads: an implementation answers at once from memory, or takes the
/// request off the thread (`Request.deferred()`) and returns. Nothing here may block: a blocked reader is a blocked
/// mount.
///
/// Names are bytes without the NUL, valid during the call only. Inodes and handles are those that replies named.
package protocol KernelOperations: AnyObject, Sendable {
    /// The kernel and libfuse have agreed on the protocol: the mount is usable from here on.
    func initialized()

    func lookup(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer)
    /// No reply: `count` lookups of the inode are taken back.
    func forget(inode: UInt64, count: UInt64)
    /// `handle` is there when somebody asks who has the file open, the kernel for a read of his among them.
    func getattr(_ request: consuming Request, inode: UInt64, handle: UInt64?)
    /// `handle` is there when the change was asked for through an open file.
    func setattr(_ request: consuming Request, inode: UInt64, handle: UInt64?, _ change: AttributeSetting)
    func readlink(_ request: consuming Request, inode: UInt64)
    func access(_ request: consuming Request, inode: UInt64, mask: Int32)

    func open(_ request: consuming Request, inode: UInt64, flags: Int32)
    func read(_ request: consuming Request, inode: UInt64, handle: UInt64, offset: UInt64, sizeBytes: Int)
    /// `notice` is there when somebody waits for the answer to change.
    func poll(_ request: consuming Request, inode: UInt64, handle: UInt64, notice: PollHandle?)
    /// `bytes` are valid during the call only.
    func write(
        _ request: consuming Request, inode: UInt64, handle: UInt64, offset: UInt64, bytes: UnsafeRawBufferPointer)
    func fallocate(
        _ request: consuming Request, inode: UInt64, handle: UInt64, range: Range<UInt64>, flags: AllocationFlags)
    /// Every `close` of a descriptor.
    func flush(_ request: consuming Request, inode: UInt64, handle: UInt64)
    func fsync(_ request: consuming Request, inode: UInt64, handle: UInt64)
    /// The last descriptor is gone.
    func release(_ request: consuming Request, inode: UInt64, handle: UInt64)

    func opendir(_ request: consuming Request, inode: UInt64)
    func readdir(
        _ request: consuming Request, inode: UInt64, handle: UInt64, offset: Int64, sizeBytes: Int,
        withAttributes: Bool)
    func releasedir(_ request: consuming Request, inode: UInt64, handle: UInt64)

    func statfs(_ request: consuming Request)
    func getxattr(_ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, sizeBytes: Int)
    func listxattr(_ request: consuming Request, inode: UInt64, sizeBytes: Int)
    func setxattr(
        _ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer,
        flags: XattrFlags)
    func removexattr(_ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer)

    /// Makes a file and opens it. `mode` is that of `stat`, less the caller's umask; so below.
    func create(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32, flags: Int32)
    func mknod(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32)
    func mkdir(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32)
    func symlink(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer)
    func link(_ request: consuming Request, inode: UInt64, newParent: UInt64, newName: UnsafeRawBufferPointer)
    func unlink(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer)
    func rmdir(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer)
    func rename(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, newParent: UInt64,
        newName: UnsafeRawBufferPointer, flags: RenameFlags)

    /// The caller of a deferred request received a signal. Runs under libfuse's lock of that request: it may note the
    /// id and must not answer anything.
    func interrupted(id: UInt64)
}
