internal import CFuse3
internal import Glibc
internal import ThawCore

/// What libfuse carries as `userdata`: kept alive by the session for as long as libfuse may call.
final class CallbackContext: Sendable {
    let operations: any KernelOperations
    let tuning: SessionTuning
    /// Weak, because the session owns this.
    let session = WeakReference<Session>()

    init(operations: any KernelOperations, tuning: SessionTuning) {
        self.operations = operations
        self.tuning = tuning
    }
}

func operations(of raw: fuse_req_t) -> any KernelOperations {
    context(fuse_req_userdata(raw)).operations
}

func context(_ userdata: UnsafeMutableRawPointer?) -> CallbackContext {
    // SAFETY: `Session` passes a retained CallbackContext as userdata and releases it after its readers have ended;
    // libfuse hands the same pointer to every callback.
    guard let userdata else { preconditionFailure("libfuse lost the session's userdata") }
    return Unmanaged<CallbackContext>.fromOpaque(userdata).takeUnretainedValue()
}

func bytes(_ text: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
    guard let text else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: text, count: strlen(text))
}

/// The C table. Closures are formed in this nonisolated function: formed at the top level of an executable they would
/// belong to the main actor and trap on a reader thread.
func lowlevelOperations() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    table.`init` = { userdata, connection in
        guard let connection else { return }
        let context = context(userdata)
        context.tuning.apply(to: &connection.pointee)
        context.operations.initialized()
    }
    addMetadata(to: &table)
    addFiles(to: &table)
    addDirectories(to: &table)
    addExtendedAttributes(to: &table)
    addWriting(to: &table)
    addNames(to: &table)
    return table
}

private func addMetadata(to table: inout fuse_lowlevel_ops) {
    table.lookup = { raw, parent, name in
        guard let raw else { return }
        operations(of: raw).lookup(Request(raw), parent: parent, name: bytes(name))
    }
    table.forget = { raw, inode, count in
        guard let raw else { return }
        operations(of: raw).forget(inode: inode, count: count)
        fuse_reply_none(raw)
    }
    table.forget_multi = { raw, count, forgets in
        guard let raw else { return }
        let operations = operations(of: raw)
        for forget in UnsafeBufferPointer(start: forgets, count: count) {
            operations.forget(inode: forget.ino, count: forget.nlookup)
        }
        fuse_reply_none(raw)
    }
    table.getattr = { raw, inode, info in
        guard let raw else { return }
        operations(of: raw).getattr(Request(raw), inode: inode, handle: info?.pointee.fh)
    }
    table.readlink = { raw, inode in
        guard let raw else { return }
        operations(of: raw).readlink(Request(raw), inode: inode)
    }
    table.access = { raw, inode, mask in
        guard let raw else { return }
        operations(of: raw).access(Request(raw), inode: inode, mask: mask)
    }
    table.statfs = { raw, _ in
        guard let raw else { return }
        operations(of: raw).statfs(Request(raw))
    }
}

private func addFiles(to table: inout fuse_lowlevel_ops) {
    table.open = { raw, inode, info in
        guard let raw, let info else { return }
        operations(of: raw).open(Request(raw), inode: inode, flags: info.pointee.flags)
    }
    table.read = { raw, inode, size, offset, info in
        guard let raw, let info else { return }
        operations(of: raw).read(
            Request(raw), inode: inode, handle: info.pointee.fh, offset: UInt64(offset), sizeBytes: size)
    }
    table.release = { raw, inode, info in
        guard let raw, let info else { return }
        operations(of: raw).release(Request(raw), inode: inode, handle: info.pointee.fh)
    }
    table.poll = { raw, inode, info, handle in
        guard let raw, let info else { return }
        let context = context(fuse_req_userdata(raw))
        context.operations.poll(
            Request(raw), inode: inode, handle: info.pointee.fh,
            notice: handle.map { PollHandle($0, session: context.session) })
    }
}

private func addDirectories(to table: inout fuse_lowlevel_ops) {
    table.opendir = { raw, inode, _ in
        guard let raw else { return }
        operations(of: raw).opendir(Request(raw), inode: inode)
    }
    table.readdir = { raw, inode, size, offset, info in
        guard let raw, let info else { return }
        operations(of: raw).readdir(
            Request(raw), inode: inode, handle: info.pointee.fh, offset: Int64(offset), sizeBytes: size,
            withAttributes: false)
    }
    table.readdirplus = { raw, inode, size, offset, info in
        guard let raw, let info else { return }
        operations(of: raw).readdir(
            Request(raw), inode: inode, handle: info.pointee.fh, offset: Int64(offset), sizeBytes: size,
            withAttributes: true)
    }
    table.releasedir = { raw, inode, info in
        guard let raw, let info else { return }
        operations(of: raw).releasedir(Request(raw), inode: inode, handle: info.pointee.fh)
    }
    table.fsyncdir = { raw, _, _, _ in
        guard let raw else { return }
        Request(raw).reply(errno: 0)
    }
}

private func addExtendedAttributes(to table: inout fuse_lowlevel_ops) {
    table.getxattr = { raw, inode, name, size in
        guard let raw else { return }
        operations(of: raw).getxattr(Request(raw), inode: inode, name: bytes(name), sizeBytes: size)
    }
    table.listxattr = { raw, inode, size in
        guard let raw else { return }
        operations(of: raw).listxattr(Request(raw), inode: inode, sizeBytes: size)
    }
    table.setxattr = { raw, inode, name, value, size, flags in
        guard let raw else { return }
        operations(of: raw).setxattr(
            Request(raw), inode: inode, name: bytes(name), value: UnsafeRawBufferPointer(start: value, count: size),
            flags: XattrFlags(rawValue: flags))
    }
    table.removexattr = { raw, inode, name in
        guard let raw else { return }
        operations(of: raw).removexattr(Request(raw), inode: inode, name: bytes(name))
    }
}
