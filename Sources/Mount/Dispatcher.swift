internal import Content
package import Filesystem
package import Fuse
internal import Glibc
package import Logging
internal import Synchronization
package import ThawCore

/// How inodes look to `stat`: object stores keep no owner or mode that every tool agrees on.
package struct Ownership: Sendable {
    package var uid: UInt32
    package var gid: UInt32
    /// Permission bits.
    package var fileMode: UInt32
    package var directoryMode: UInt32

    package init(uid: UInt32, gid: UInt32, fileMode: UInt32, directoryMode: UInt32) {
        self.uid = uid
        self.gid = gid
        self.fileMode = fileMode
        self.directoryMode = directoryMode
    }
}

/// Joins the kernel's requests to the filesystem: answers from memory on the reader thread, and hands everything else
/// to a task. No policy lives here.
package final class Dispatcher: KernelOperations {
    let filesystem: Filesystem
    private let ownership: Ownership
    private let log: Logger
    let inFlight: InFlight
    private let onInitialized: @Sendable () -> Void

    /// `onInitialized` runs once the kernel has accepted the mount.
    package init(
        filesystem: Filesystem, ownership: Ownership, log: Logger, onInitialized: @escaping @Sendable () -> Void
    ) throws(Thread.Failure) {
        self.filesystem = filesystem
        self.ownership = ownership
        self.log = log
        self.onInitialized = onInitialized
        inFlight = try InFlight()
    }

    package func initialized() { onInitialized() }
    package func interrupted(id: UInt64) { inFlight.interrupted(id) }

    // MARK: Names and attributes

    package func lookup(_ request: consuming Request, parent: UInt64, name: UnsafeRawBufferPointer) {
        if let node = filesystem.lookupAtHand(parent: parent, name: name) {
            return answer(request, lookedUp: node)
        }
        let name = Array(name)
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let node = try await filesystem.lookup(parent: parent, name: name)
                return { request in
                    guard let node else { return request.replyAbsent(validSeconds: self.filesystem.absentSeconds) }
                    self.answer(request, lookedUp: node)
                }
            }
        }
    }

    private func answer(_ request: consuming Request, lookedUp node: Node) {
        // An interrupted caller's kernel never sends the forget.
        if !request.reply(entry(node)) { filesystem.forget(node.inode, count: 1) }
    }

    package func forget(inode: UInt64, count: UInt64) { filesystem.forget(inode, count: count) }

    package func getattr(_ request: consuming Request, inode: UInt64) {
        if let node = filesystem.nodeAtHand(inode) {
            return request.reply(attributes(node), validSeconds: validSeconds(node))
        }
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let node = try await filesystem.attributes(inode)
                return { $0.reply(self.attributes(node), validSeconds: self.validSeconds(node)) }
            }
        }
    }

    package func setattr(_ request: consuming Request, inode: UInt64) { request.reply(errno: EROFS) }
    package func readlink(_ request: consuming Request, inode: UInt64) { request.reply(errno: EINVAL) }
    package func modify(_ request: consuming Request) { request.reply(errno: EROFS) }

    package func access(_ request: consuming Request, inode: UInt64, mask: Int32) {
        if mask & W_OK != 0 { return request.reply(errno: EROFS) }
        // Root may do anything else but run a file that nobody may run; a shell that is told otherwise reads the file.
        guard mask & X_OK != 0, ownership.fileMode & 0o111 == 0, let node = filesystem.nodeAtHand(inode),
            !node.isDirectory
        else { return request.reply(errno: 0) }
        request.reply(errno: EACCES)
    }

    package func statfs(_ request: consuming Request) {
        let blocks: UInt64 = 1 << 38
        request.reply(
            FileSystemStatistics(blockBytes: 4096, blocks: blocks, blocksFree: blocks, nameBytesMax: 255))
    }

    // MARK: Files

    package func open(_ request: consuming Request, inode: UInt64, flags: Int32) {
        // The kernel leaves O_TRUNC to the open, and it goes with O_RDONLY too.
        if flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0 { return request.reply(errno: EROFS) }
        if let opened = filesystem.openAtHand(inode) { return answer(request, opened: opened) }
        let caller = request.caller
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let opened = try await filesystem.open(inode, caller: caller)
                return { self.answer($0, opened: opened) }
            }
        }
    }

    private func answer(_ request: consuming Request, opened file: OpenedFile) {
        let opened = Opened(handle: file.handle, directIO: file.isDirect, keepCache: file.keepsCache)
        if !request.reply(opened) { filesystem.close(file.handle) }
    }

    package func read(
        _ request: consuming Request, inode: UInt64, handle: UInt64, offset: UInt64, sizeBytes: Int
    ) {
        if let bytes = filesystem.readAtHand(handle, offset: offset, sizeBytes: sizeBytes) {
            return answer(request, bytes)
        }
        let caller = request.caller
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let bytes = try await filesystem.read(handle, offset: offset, sizeBytes: sizeBytes, caller: caller)
                return { self.answer($0, bytes) }
            }
        }
    }

    private func answer(_ request: consuming Request, _ bytes: PinnedBytes) {
        // A consuming parameter cannot be consumed in a closure: the pieces come out, and the request goes in there.
        var request: Request? = request
        bytes.withPieces { pieces in request.take()?.reply(pieces: pieces) }
    }

    package func poll(_ request: consuming Request, inode: UInt64, handle: UInt64, notice: PollHandle?) {
        var tell: (@Sendable () -> Void)?
        if let notice { tell = { notice.notify() } }
        switch filesystem.poll(handle, notice: tell) {
        case .ready: request.reply(.ready)
        case .waiting: request.reply(.waiting)
        case .failed: request.reply(.failed)
        }
    }

    package func release(_ request: consuming Request, inode: UInt64, handle: UInt64) {
        filesystem.close(handle)
        request.reply(errno: 0)
    }

    // MARK: Directories

    package func opendir(_ request: consuming Request, inode: UInt64) {
        do throws(FileError) {
            let handle = try filesystem.openDirectory(inode)
            if !request.reply(Opened(handle: handle)) { filesystem.closeDirectory(handle) }
        } catch {
            request.reply(errno: error.errno)
        }
    }

    package func readdir(
        _ request: consuming Request, inode: UInt64, handle: UInt64, offset: Int64, sizeBytes: Int,
        withAttributes: Bool
    ) {
        var page = DirectoryPage(capacity: sizeBytes)
        if fill(&page, handle, offset, withAttributes) { return request.reply(page) }
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                try await filesystem.fetchEntries(handle, at: offset)
                return { request in
                    var page = DirectoryPage(capacity: sizeBytes)
                    _ = self.fill(&page, handle, offset, withAttributes)
                    request.reply(page)
                }
            }
        }
    }

    private func fill(_ page: inout DirectoryPage, _ handle: UInt64, _ offset: Int64, _ withAttributes: Bool) -> Bool {
        filesystem.fill(handle, from: offset, countsLookups: withAttributes) { item in
            withAttributes
                ? page.append(name: item.name, entry: entry(item.node), nextOffset: item.nextOffset)
                : page.append(
                    name: item.name, inode: item.node.inode, isDirectory: item.node.isDirectory,
                    nextOffset: item.nextOffset)
        }
    }

    package func releasedir(_ request: consuming Request, inode: UInt64, handle: UInt64) {
        filesystem.closeDirectory(handle)
        request.reply(errno: 0)
    }

    // MARK: Answers

    /// Runs the slow form of an operation and answers with what it gives, or with its error.
    func finish(
        _ reply: DeferredReply, _ operation: () async throws(FileError) -> (consuming Request) -> Void
    ) async {
        do throws(FileError) {
            let answer = try await operation()
            reply.finish { request in
                answer(request)
                return true
            }
        } catch {
            reply.finish(errno: error.errno)
        }
    }

    private func entry(_ node: Node) -> Entry {
        Entry(attributes: attributes(node), generation: 0, validSeconds: validSeconds(node))
    }

    private func validSeconds(_ node: Node) -> Double { filesystem.validSeconds(node.checkedAt) }

    private func attributes(_ node: Node) -> Attributes {
        Attributes(
            inode: node.inode, kind: node.isDirectory ? .directory : .file,
            permissions: node.isDirectory ? ownership.directoryMode : ownership.fileMode, uid: ownership.uid,
            gid: ownership.gid, sizeBytes: node.sizeBytes, modified: node.modified)
    }
}
