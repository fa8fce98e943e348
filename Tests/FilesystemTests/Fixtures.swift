import Content
import Logging
import Metadata
import ObjectStore
import Restore
import ThawCore
import ThawTesting
import Upload
import Wire

@testable import Filesystem

/// A filesystem over a fake store, without a kernel.
struct Fixture {
    let directory: TemporaryDirectory
    let store: FakeStore
    let writer: MetadataWriter
    let filesystem: Filesystem

    init(ttl: Duration? = .seconds(3600), _ keys: String...) throws {
        try self.init(ttl: ttl, keys)
    }

    /// The mount after another, if one is named.
    init(
        ttl: Duration? = .seconds(3600), frozen: FrozenPolicy = FrozenPolicy(), _ keys: [String],
        inodesMax: Int? = nil, idlePagesMax: Int? = nil, in earlier: Fixture? = nil
    ) throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        directory = try earlier?.directory ?? TemporaryDirectory()
        store = earlier?.store ?? FakeStore()
        for key in keys { store.put(key, Array(key.utf8)) }
        let path = directory.path + "/db"
        writer = try MetadataWriter(path: path, executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        var configuration = Filesystem.Configuration()
        configuration.metadataTTL = ttl
        configuration.frozen = frozen
        var limit: InodeLimit?
        if let inodesMax {
            let idle = try IdleInodes(in: directory.path, pagesMax: idlePagesMax)
            let executor = try ThreadExecutor(name: "inodes")
            limit = InodeLimit(inodesMax: inodesMax, store: idle, executor: executor, log: quiet)
        }
        filesystem = Filesystem(
            configuration: configuration, store: store, context: ArchiveContext(dialect: .oss, hasDirectRead: false),
            contents: ContentCache(store: store, bytesMax: 1 << 20),
            area: try StagingArea(directory: directory.path + "/staging", bytesMax: 1 << 30, keepFreeBytes: 0),
            writer: writer,
            reader: MetadataReader(path: path, executor: try ThreadExecutor(name: "db-reader")),
            inodeLimit: limit, log: quiet)
    }

    func directory(_ inode: UInt64) -> Directory? { filesystem.inodes[inode]?.directory }

    /// What happens when inodes have become too many, now.
    func settle() { filesystem.inodes.settle() }

    /// As the kernel's reader thread does: from memory, else by asking.
    func lookup(_ name: String, in parent: UInt64 = Filesystem.rootInode) async throws -> Node? {
        let bytes = Array(name.utf8)
        switch bytes.withUnsafeBytes({ filesystem.lookupAtHand(parent: parent, name: $0) }) {
        case .found(let node): return node
        case .absent: return nil
        case nil: return try await filesystem.lookup(parent: parent, name: bytes)
        }
    }

    /// The key behind a path; nil when there is none.
    func key(_ path: String...) async throws -> String? {
        var inode = Filesystem.rootInode
        for name in path {
            guard let node = try await lookup(name, in: inode) else { return nil }
            inode = node.inode
        }
        guard let known = filesystem.inodes[inode] else { return nil }
        return known.directory?.prefix.description ?? known.key.description
    }

    /// One `readdir` into a buffer for so many entries.
    func page(_ handle: UInt64, from offset: Int64, room: Int, plus: Bool = false) async throws -> [Given] {
        for _ in 0..<2 {
            var given: [Given] = []
            let isAnswered = filesystem.fill(handle, from: offset, countsLookups: plus) { entry in
                guard given.count < room else { return false }
                given.append(Given(name: String(cString: entry.name), inode: entry.node.inode, next: entry.nextOffset))
                return true
            }
            if isAnswered { return given }
            try await filesystem.fetchEntries(handle, at: offset)
        }
        return []
    }

    struct Given: Equatable {
        let name: String
        let inode: UInt64
        let next: Int64
    }

    /// All names of a directory but the dots, read with buffers of this room.
    func names(of inode: UInt64 = Filesystem.rootInode, room: Int = 100, plus: Bool = false) async throws -> [String] {
        let handle = try filesystem.openDirectory(inode)
        defer { filesystem.closeDirectory(handle) }
        return try await names(handle, room: room, plus: plus)
    }

    func names(_ handle: UInt64, room: Int = 100, plus: Bool = false) async throws -> [String] {
        var names: [String] = []
        var offset: Int64 = 0
        while true {
            let given = try await page(handle, from: offset, room: room, plus: plus)
            guard let last = given.last else { return names.filter { $0 != "." && $0 != ".." } }
            names += given.map(\.name)
            offset = last.next
        }
    }
}

extension Caller {
    /// Nobody in particular: as from outside our pid namespace.
    static let unknown = Caller(thread: 0, uid: 0, gid: 0)
}
