internal import Filesystem
package import Fuse
internal import Glibc
internal import ThawCore

extension Dispatcher {
    /// Refuses on a mount that only reads, else runs the change as a task that the end of the mount lets finish.
    private func change(
        _ request: consuming Request,
        _ operation: @escaping @Sendable (Caller) async throws(FileError) -> (consuming Request) -> Void
    ) {
        if filesystem.isReadOnly { return request.reply(errno: EROFS) }
        let caller = request.caller
        inFlight.run(request, isChange: true) { [self] reply in
            await finish(reply) { () throws(FileError) in try await operation(caller) }
        }
    }

    // MARK: Files

    package func setattr(
        _ request: consuming Request, inode: UInt64, handle: UInt64?, _ setting: AttributeSetting
    ) {
        let wanted = AttributeChange(setting)
        // An access time alone: taken calmly, and nothing is kept.
        if wanted == AttributeChange(), !filesystem.isReadOnly { return getattr(request, inode: inode, handle: handle) }
        change(request) { [self] caller throws(FileError) in
            let node = try await filesystem.setAttributes(inode, wanted, handle: handle, caller: caller)
            return { $0.reply(self.ownership.attributes(node), validSeconds: self.attributesValidSeconds(node)) }
        }
    }

    package func write(
        _ request: consuming Request, inode: UInt64, handle: UInt64, offset: UInt64, bytes: UnsafeRawBufferPointer
    ) {
        switch filesystem.writeAtHand(handle, offset: offset, bytes) {
        case .success(true): return request.reply(writtenBytes: bytes.count)
        case .success(false): break
        case .failure(let error): return request.reply(errno: error.errno)
        }
        let bytes = Array(bytes)
        change(request) { [filesystem] caller throws(FileError) in
            try await filesystem.write(handle, offset: offset, bytes, caller: caller)
            return { $0.reply(writtenBytes: bytes.count) }
        }
    }

    package func fallocate(
        _ request: consuming Request, inode: UInt64, handle: UInt64, range: Range<UInt64>, flags: AllocationFlags
    ) {
        let known: [AllocationFlags] = [[], .keepsSize, [.punchesHole, .keepsSize]]
        guard known.contains(flags) else { return request.reply(errno: EOPNOTSUPP) }
        change(request) { [filesystem] caller throws(FileError) in
            try await filesystem.allocate(
                handle, range: range, keepsSize: flags.contains(.keepsSize), punchesHole: flags.contains(.punchesHole),
                caller: caller)
            return { $0.reply(errno: 0) }
        }
    }

    package func flush(_ request: consuming Request, inode: UInt64, handle: UInt64) {
        if filesystem.isClean(handle) { return request.reply(errno: 0) }
        change(request) { [filesystem] caller throws(FileError) in
            // Shells that redirect, touch and dd open a new file, copy the descriptor, and close the first one: another
            // close follows. An empty object would cost them a request, and show the file empty to others meanwhile.
            let isMere = filesystem.isEmpty(handle) && caller.hasOpenForWriting(inode: inode)
            if !isMere { try await filesystem.flush(handle, caller: caller) }
            return { $0.reply(errno: 0) }
        }
    }

    package func fsync(_ request: consuming Request, inode: UInt64, handle: UInt64) {
        if filesystem.isSynced(handle) { return request.reply(errno: 0) }
        change(request) { [filesystem] caller throws(FileError) in
            try await filesystem.flush(handle, caller: caller)
            return { $0.reply(errno: 0) }
        }
    }

    // MARK: New names

    package func create(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32, flags: Int32
    ) {
        let name = Array(name)
        change(request) { [self] caller throws(FileError) in
            let (node, file) = try await filesystem.create(
                parent: parent, name: name, NewFile(mode: mode, caller), OpenMode(flags: flags),
                isExclusive: flags & O_EXCL != 0, caller: caller)
            return { request in
                if !request.reply(self.entry(node), Opened(file)) { self.undo(node, file) }
            }
        }
    }

    private func undo(_ node: Node, _ file: OpenedFile) {
        filesystem.close(file.handle)
        filesystem.forget(node.inode, count: 1)
    }

    package func mknod(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32
    ) {
        let isFile = mode & S_IFMT == S_IFREG || mode & S_IFMT == 0
        // As mknod(2) has it for filesystems without devices, sockets and pipes.
        guard isFile || filesystem.isReadOnly else { return request.reply(errno: EPERM) }
        let name = Array(name)
        change(request) { [self] caller throws(FileError) in
            let (node, file) = try await filesystem.create(
                parent: parent, name: name, NewFile(mode: mode, caller), OpenMode(reads: false, writes: true),
                isExclusive: true, caller: caller)
            do throws(FileError) { try await filesystem.flush(file.handle, caller: caller) } catch {
                undo(node, file)
                throw error
            }
            filesystem.close(file.handle)
            return { self.answer($0, lookedUp: node) }
        }
    }

    package func mkdir(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, mode: UInt32
    ) {
        let name = Array(name)
        change(request) { [self] caller throws(FileError) in
            let node = try await filesystem.makeDirectory(parent: parent, name: name, NewFile(mode: mode, caller))
            return { self.answer($0, lookedUp: node) }
        }
    }

    package func symlink(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer
    ) {
        let (name, target) = (Array(name), Array(target))
        change(request) { [self] caller throws(FileError) in
            let node = try await filesystem.makeSymbolicLink(
                parent: parent, name: name, target: target, NewFile(mode: 0o777, caller))
            return { self.answer($0, lookedUp: node) }
        }
    }

    /// What link(2) documents of filesystems without hard links: `cp -al`, git and tar know what to do then.
    package func link(
        _ request: consuming Request, inode: UInt64, newParent: UInt64, newName: UnsafeRawBufferPointer
    ) {
        request.reply(errno: filesystem.isReadOnly ? EROFS : EPERM)
    }

    // MARK: Names that go

    package func unlink(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer) {
        let name = Array(name)
        change(request) { [filesystem] _ throws(FileError) in
            try await filesystem.unlink(parent: parent, name: name)
            return { $0.reply(errno: 0) }
        }
    }

    package func rmdir(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer) {
        let name = Array(name)
        change(request) { [filesystem] _ throws(FileError) in
            try await filesystem.removeDirectory(parent: parent, name: name)
            return { $0.reply(errno: 0) }
        }
    }

    package func rename(
        _ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer, newParent: UInt64,
        newName: UnsafeRawBufferPointer, flags: RenameFlags
    ) {
        guard flags.isSubset(of: .mustNotExist) else { return request.reply(errno: EINVAL) }
        let (name, newName) = (Array(name), Array(newName))
        change(request) { [filesystem] _ throws(FileError) in
            try await filesystem.rename(
                parent: parent, name: name, newParent: newParent, newName: newName,
                flags.contains(.mustNotExist) ? .mustNotExist : .replaced)
            return { $0.reply(errno: 0) }
        }
    }
}

extension AttributeChange {
    init(_ setting: AttributeSetting) {
        self.init()
        permissions = setting.permissions
        uid = setting.uid
        gid = setting.gid
        sizeBytes = setting.sizeBytes
        modified = setting.modified
    }
}

extension NewFile {
    init(mode: UInt32, _ caller: Caller) {
        self.init(permissions: mode & 0o7777, uid: caller.uid, gid: caller.gid)
    }
}
