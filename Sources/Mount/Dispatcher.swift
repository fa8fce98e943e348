internal import Content
package import Filesystem
package import Fuse
internal import Glibc
package import Logging
internal import Synchronization
package import ThawCore

/// Joins the kernel's requests to the filesystem: answers from memory on the reader thread, and hands everything else
/// to a task. No policy lives here.
package final class Dispatcher: KernelOperations {
    let filesystem: Filesystem
    let ownership: Ownership
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
        switch filesystem.lookupAtHand(parent: parent, name: name) {
        case .found(let node): return answer(request, lookedUp: node)
        case .absent: return request.replyAbsent(validSeconds: filesystem.absentSeconds)
        case nil: break
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

    func answer(_ request: consuming Request, lookedUp node: Node) {
        // An interrupted caller's kernel never sends the forget.
        if !request.reply(entry(node)) { filesystem.forget(node.inode, count: 1) }
    }

    package func forget(inode: UInt64, count: UInt64) { filesystem.forget(inode, count: count) }

    package func getattr(_ request: consuming Request, inode: UInt64, handle: UInt64?) {
        if let node = filesystem.nodeAtHand(inode, through: handle) {
            return request.reply(ownership.attributes(node), validSeconds: attributesValidSeconds(node))
        }
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let node = try await filesystem.attributes(inode, through: handle)
                return { $0.reply(self.ownership.attributes(node), validSeconds: self.attributesValidSeconds(node)) }
            }
        }
    }

    package func readlink(_ request: consuming Request, inode: UInt64) {
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let target = try await filesystem.linkTarget(inode)
                return { request in
                    var request: Request? = request
                    target.withUnsafeBytes { request.take()?.reply($0) }
                }
            }
        }
    }

    package func access(_ request: consuming Request, inode: UInt64, mask: Int32) {
        if mask & W_OK != 0, filesystem.isReadOnly { return request.reply(errno: EROFS) }
        // Root may do anything else but run a file that nobody may run; a shell that is told otherwise reads the file.
        guard mask & X_OK != 0, let node = filesystem.nodeAtHand(inode), node.kind == .file,
            ownership.permissions(node) & 0o111 == 0
        else { return request.reply(errno: 0) }
        request.reply(errno: EACCES)
    }

    package func statfs(_ request: consuming Request) {
        let many: UInt64 = 1 << 38
        request.reply(
            FileSystemStatistics(blockBytes: 4096, blocks: many, blocksFree: many, files: many, nameBytesMax: 255))
    }

    // MARK: Files

    package func open(_ request: consuming Request, inode: UInt64, flags: Int32) {
        let mode = OpenMode(flags: flags)
        if mode.changes, filesystem.isReadOnly { return request.reply(errno: EROFS) }
        if let opened = filesystem.openAtHand(inode, mode) { return answer(request, opened: opened) }
        let caller = request.caller
        inFlight.run(request, isChange: mode.changes) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let opened = try await filesystem.open(inode, mode, caller: caller)
                return { self.answer($0, opened: opened) }
            }
        }
    }

    private func answer(_ request: consuming Request, opened file: OpenedFile) {
        if !request.reply(Opened(file)) { filesystem.close(file.handle) }
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
                    name: item.name, inode: item.node.inode, kind: Attributes.Kind(item.node.kind),
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

    func entry(_ node: Node) -> Entry {
        Entry(
            attributes: ownership.attributes(node), generation: 0, validSeconds: validSeconds(node),
            attributesValidSeconds: attributesValidSeconds(node))
    }

    private func validSeconds(_ node: Node) -> Double { filesystem.validSeconds(node.checkedAt) }

    func attributesValidSeconds(_ node: Node) -> Double { node.attributesAreDue ? 0 : validSeconds(node) }
}

extension Opened {
    init(_ file: OpenedFile) {
        self.init(handle: file.handle, directIO: file.isDirect, keepCache: file.keepsCache)
    }
}

extension OpenMode {
    /// `flags` are those of open(2).
    init(flags: Int32) {
        let access = flags & O_ACCMODE
        // The kernel leaves O_TRUNC to the open, and it goes with O_RDONLY too.
        self.init(
            reads: access != O_WRONLY, writes: access != O_RDONLY, truncates: flags & O_TRUNC != 0,
            appends: flags & O_APPEND != 0)
    }

    var changes: Bool { writes || truncates }
}
