internal import CFuse3
internal import Glibc
internal import Synchronization
internal import ThawCore

/// What is asked of the kernel when the connection is made.
package struct SessionTuning: Sendable {
    /// Largest read and write in one request, in bytes: 1 MiB is what 256 pages carry.
    package var transferBytesMax: UInt32 = 1 << 20
    /// Readahead and other background requests in flight. The kernel's 12 lets a dozen slow reads stall every
    /// buffered read.
    package var backgroundMax: UInt32 = 256

    package init() {}

    func apply(to connection: inout fuse_conn_info) {
        connection.max_write = transferBytesMax
        connection.max_readahead = transferBytesMax
        connection.max_background = backgroundMax
        connection.congestion_threshold = backgroundMax * 3 / 4
        // Splicing was measured five times slower for 1 MiB replies, and costs a pipe per reader.
        connection.want &= ~UInt32(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE)
    }
}

package enum SessionError: Error, Equatable, Sendable {
    /// libfuse refused the options. It has printed what it did not like.
    case options
    /// The mount itself failed, with the errno it left behind.
    case mount(errno: Int32)
    case thread(errno: Int32)
}

/// One mounted FUSE connection: its reader threads, its unmounting, its notifications.
///
/// Life: `init` mounts, `run` starts the readers and returns when the mount is gone and every reader has ended. The
/// readers drain the device until it says ENODEV, never stopping at an exit flag, because a request that nobody reads
/// hangs its caller.
///
// SAFETY: @unchecked because of the raw session pointer. libfuse's session functions used here are safe from any
// thread; the pointer lives from init to deinit, and `run` joins the readers before it returns.
package final class Session: @unchecked Sendable {
    private let raw: OpaquePointer
    private let context: Unmanaged<CallbackContext>
    private let mountpoint: String
    /// Ours at the mountpoint, told from what may be mounted there later.
    private let device: String?

    /// Mounts. `options` are FUSE's own (`allow_other`, `fsname=…`), `mountpoint` is absolute.
    package init(
        mountpoint: String, options: [String], operations: any KernelOperations,
        tuning: SessionTuning = SessionTuning()
    ) throws(SessionError) {
        self.mountpoint = mountpoint
        // SAFETY: retained for libfuse, which keeps the pointer; released once, on a failure below or in deinit.
        let callbacks = CallbackContext(operations: operations, tuning: tuning)
        let context = Unmanaged.passRetained(callbacks)
        let session = newSession(options: options, userdata: context.toOpaque())
        guard let session else {
            context.release()
            throw .options
        }
        errno = 0
        guard fuse_session_mount(session, mountpoint) == 0 else {
            let code = errno
            fuse_session_destroy(session)
            context.release()
            throw .mount(errno: code)
        }
        self.context = context
        raw = session
        device = MountTable.entry(at: mountpoint)?.device
        callbacks.session.value = self
    }

    deinit {
        fuse_session_destroy(raw)
        context.release()
    }

    /// Reads and dispatches requests on `readers` threads until the filesystem is unmounted. A connection that ended
    /// otherwise (it was aborted) leaves no dead mount behind.
    package func run(readers: Int) throws(SessionError) {
        var threads: [Thread] = []
        for index in 0..<max(readers, 1) {
            do {
                threads.append(try Thread(name: "fuse-\(index)") { [self] in readUntilUnmounted() })
            } catch {
                unmount()
                for thread in threads { thread.join() }
                throw .thread(errno: error.errno)
            }
        }
        for thread in threads { thread.join() }
        var status = CFuse3.stat()
        // Asked of the path, not of the mount table: what a later mount there is called may be the same by now.
        if stat(mountpoint, &status) == -1, errno == ENOTCONN { detach() }
    }

    private func readUntilUnmounted() {
        var buffer = fuse_buf()
        defer { free(buffer.mem) }
        while true {
            let received = fuse_session_receive_buf(raw, &buffer)
            if received == -EINTR || received == -EAGAIN { continue }
            if received <= 0 { return }
            fuse_session_process_buf(raw, &buffer)
        }
    }

    /// Detaches the mount from the tree; the readers end once the last open file is closed. Safe from any thread, at
    /// any time.
    package func unmount() {
        guard let device, MountTable.entry(at: mountpoint)?.device == device else { return }
        detach()
    }

    private func detach() {
        if umount2(mountpoint, Int32(MNT_DETACH)) == 0 { return }
        guard errno == EPERM else { return }
        _ = spawnAndWait(["fusermount3", "-u", "-q", "-z", "--", mountpoint])
    }

    /// Drops what the kernel caches of the inode's attributes, and of its pages when asked. May wait for reads of that
    /// inode that are in flight: call it from a thread that serves no request.
    /// The corresponding C function is `fuse_lowlevel_notify_inval_inode`.
    package func invalidate(inode: UInt64, pages: Bool) {
        fuse_lowlevel_notify_inval_inode(raw, inode, pages ? 0 : -1, 0)
    }

    /// Drops the kernel's memory of a name. The corresponding C function is `fuse_lowlevel_notify_inval_entry`.
    package func invalidate(parent: UInt64, name: [UInt8]) {
        name.withUnsafeBytes { bytes in
            _ = fuse_lowlevel_notify_inval_entry(
                raw, parent, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }
}

private func newSession(options: [String], userdata: UnsafeMutableRawPointer) -> OpaquePointer? {
    var words = ["thawfs"]
    for option in options { words += ["-o", option] }
    // libfuse keeps no reference to argv past fuse_session_new, but parses it in place: these are ours to free.
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    var table = lowlevelOperations()
    return arguments.withUnsafeMutableBufferPointer { buffer in
        var parsed = fuse_args(argc: Int32(buffer.count), argv: buffer.baseAddress, allocated: 0)
        let session = thaw_fuse_session_new(&parsed, &table, userdata)
        if parsed.allocated != 0 { fuse_opt_free_args(&parsed) }
        return session
    }
}
