internal import CFuse3
internal import Glibc
internal import Synchronization
package import ThawCore

/// One request of the kernel, on the reader thread that received it. Exactly one `reply` ends it; a request that is
/// dropped without one answers `EIO`, so that a forgotten path is a visible error and never a hung process.
///
/// Rule: drop every lock before replying. The kernel may send the `forget` of what a reply names before the reply
/// call returns.
package struct Request: ~Copyable {
    let raw: fuse_req_t

    init(_ raw: fuse_req_t) { self.raw = raw }

    deinit { fuse_reply_err(raw, EIO) }

    /// Who asks.
    package var caller: Caller {
        let context = fuse_req_ctx(raw).pointee
        return Caller(thread: context.pid, uid: context.uid, gid: context.gid)
    }

    /// Takes the request off this thread, to be answered later from any other.
    package consuming func deferred() -> DeferredReply {
        let reply = DeferredReply(raw, session: context(fuse_req_userdata(raw)).session.value)
        discard self
        return reply
    }

    /// The corresponding C function is `fuse_reply_err`; 0 says success to operations that return nothing.
    package consuming func reply(errno code: Int32) {
        fuse_reply_err(raw, code)
        discard self
    }

    /// Answers false when the caller has gone (interrupted): the kernel then never forgets the inode, so the caller
    /// of this function takes its lookup count back. The corresponding C function is `fuse_reply_entry`.
    package consuming func reply(_ entry: Entry) -> Bool {
        var parameter = entry.parameter
        let delivered = fuse_reply_entry(raw, &parameter) == 0
        discard self
        return delivered
    }

    /// "No such entry", which the kernel may remember for so many seconds.
    package consuming func replyAbsent(validSeconds: Double) {
        if validSeconds > 0 {
            var parameter = fuse_entry_param()
            parameter.entry_timeout = validSeconds
            fuse_reply_entry(raw, &parameter)
        } else {
            fuse_reply_err(raw, ENOENT)
        }
        discard self
    }

    /// The corresponding C function is `fuse_reply_attr`.
    package consuming func reply(_ attributes: Attributes, validSeconds: Double) {
        var stat = attributes.stat
        fuse_reply_attr(raw, &stat, validSeconds)
        discard self
    }

    /// Answers false when the caller has gone: no `release` will follow, so the handle must be dropped.
    package consuming func reply(_ opened: Opened) -> Bool {
        var info = opened.info
        let delivered = fuse_reply_open(raw, &info) == 0
        discard self
        return delivered
    }

    /// The answer to a `create`, as an entry and an open. False when the caller has gone: then neither a `forget` nor a
    /// `release` will follow. The corresponding C function is `fuse_reply_create`.
    package consuming func reply(_ entry: Entry, _ opened: Opened) -> Bool {
        var parameter = entry.parameter
        var info = opened.info
        let delivered = fuse_reply_create(raw, &parameter, &info) == 0
        discard self
        return delivered
    }

    /// How many bytes a `write` took. The corresponding C function is `fuse_reply_write`.
    package consuming func reply(writtenBytes: Int) {
        fuse_reply_write(raw, writtenBytes)
        discard self
    }

    /// The corresponding C function is `fuse_reply_buf`.
    package consuming func reply(_ bytes: UnsafeRawBufferPointer) {
        fuse_reply_buf(raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        discard self
    }

    /// Data in pieces, copied by the kernel before this returns. The corresponding C function is `fuse_reply_iov`.
    package consuming func reply(pieces: [UnsafeRawBufferPointer]) {
        replyWithPieces(raw, pieces)
        discard self
    }

    /// The size of an extended attribute or list that the caller asked the size of.
    package consuming func reply(xattrSize: Int) {
        fuse_reply_xattr(raw, xattrSize)
        discard self
    }

    /// What is ready now. The corresponding C function is `fuse_reply_poll`.
    package consuming func reply(_ answer: PollAnswer) {
        fuse_reply_poll(raw, answer.events)
        discard self
    }

    package consuming func reply(_ statistics: FileSystemStatistics) {
        var value = statistics.statvfs
        fuse_reply_statfs(raw, &value)
        discard self
    }

    package consuming func reply(_ page: borrowing DirectoryPage) {
        fuse_reply_buf(raw, page.base, page.used)
        discard self
    }
}

/// A request that is answered later. Of completion, interrupt and shutdown, whoever comes first answers; the others
/// find it answered. Dropped unanswered it answers `EIO`.
///
// SAFETY: @unchecked because of the raw request pointer. libfuse allows a request to be answered from any thread, and
// the pointer is reached only by the one caller whose exchange of `answered` found false. The session that it belongs
// to lives as long as this.
package final class DeferredReply: @unchecked Sendable {
    private let raw: fuse_req_t
    private let answered = Atomic<Bool>(false)
    /// Kept: an answer after the connection has ended still goes through it.
    private let session: Session?

    init(_ raw: fuse_req_t, session: Session?) {
        self.raw = raw
        self.session = session
    }

    deinit {
        if claim() { fuse_reply_err(raw, EIO) }
    }

    private func claim() -> Bool { !answered.exchange(true, ordering: .acquiringAndReleasing) }

    /// Answers through `body`, unless somebody has answered. False when nothing was delivered.
    @discardableResult
    package func finish(_ body: (consuming Request) -> Bool) -> Bool {
        guard claim() else { return false }
        return body(Request(raw))
    }

    @discardableResult
    package func finish(errno code: Int32) -> Bool {
        finish { request in
            request.reply(errno: code)
            return true
        }
    }

    /// Arms the interrupt of this request: `id` comes back through `KernelOperations.interrupted`. An id and never a
    /// pointer, because libfuse may run the callback after the reply has freed everything else.
    /// The corresponding C function is `fuse_req_interrupt_func`. Call it before anything else can answer.
    package func armInterrupt(id: UInt64) {
        fuse_req_interrupt_func(raw, interruptCallback, UnsafeMutableRawPointer(bitPattern: UInt(id)))
    }
}

private func interruptCallback(_ raw: fuse_req_t?, _ data: UnsafeMutableRawPointer?) {
    guard let raw, let data else { return }
    operations(of: raw).interrupted(id: UInt64(UInt(bitPattern: data)))
}

private func replyWithPieces(_ raw: fuse_req_t, _ pieces: [UnsafeRawBufferPointer]) {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: pieces.count) { vectors in
        for (index, piece) in pieces.enumerated() {
            vectors.initializeElement(
                at: index,
                to: iovec(iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count))
        }
        fuse_reply_iov(raw, vectors.baseAddress, Int32(pieces.count))
    }
}

/// What `open` and `opendir` hand back to the kernel.
package struct Opened: Sendable {
    package var handle: UInt64
    /// Bypass the page cache: every read comes to us, and an interrupt of it too.
    package var directIO: Bool
    /// Keep the pages that an earlier open left in the page cache.
    package var keepCache: Bool

    package init(handle: UInt64, directIO: Bool = false, keepCache: Bool = false) {
        self.handle = handle
        self.directIO = directIO
        self.keepCache = keepCache
    }

    var info: fuse_file_info {
        var info = fuse_file_info()
        info.fh = handle
        info.direct_io = directIO ? 1 : 0
        info.keep_cache = keepCache ? 1 : 0
        return info
    }
}

/// What `statfs` shows. Object stores have no size, so what is free is as much as programs can bear.
package struct FileSystemStatistics: Sendable {
    package var blockBytes: UInt
    package var blocks: UInt64
    package var blocksFree: UInt64
    /// Inodes, of which none is taken.
    package var files: UInt64
    package var nameBytesMax: UInt

    package init(blockBytes: UInt, blocks: UInt64, blocksFree: UInt64, files: UInt64, nameBytesMax: UInt) {
        self.blockBytes = blockBytes
        self.blocks = blocks
        self.blocksFree = blocksFree
        self.files = files
        self.nameBytesMax = nameBytesMax
    }

    var statvfs: CFuse3.statvfs {
        var value = CFuse3.statvfs()
        value.f_bsize = blockBytes
        value.f_frsize = blockBytes
        value.f_blocks = UInt(blocks)
        value.f_bfree = UInt(blocksFree)
        value.f_bavail = UInt(blocksFree)
        value.f_files = UInt(files)
        value.f_ffree = UInt(files)
        value.f_favail = UInt(files)
        value.f_namemax = nameBytesMax
        return value
    }
}
