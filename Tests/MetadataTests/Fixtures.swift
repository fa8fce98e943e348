import Database
import Glibc
import Logging
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// One metadata store in a directory of its own.
final class Fixture: Sendable {
    let directory: TemporaryDirectory
    let path: String
    let writer: MetadataWriter
    let reader: MetadataReader

    init(in directory: TemporaryDirectory? = nil) throws {
        let directory = try directory ?? TemporaryDirectory()
        self.directory = directory
        path = directory.path + "/metadata.sqlite"
        writer = try MetadataWriter(path: path, executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        reader = MetadataReader(path: path, executor: try ThreadExecutor(name: "db-reader"))
    }

    func record(
        _ segments: [String], _ kind: MetadataRow.Kind = object(), at seconds: Int64, listing: Int64,
        below prefix: ObjectKey = .empty
    ) async throws {
        try await writer.record(
            segments.map { MetadataRow(segment: Array($0.utf8), kind: kind, checkedAt: Timestamp(seconds: seconds)) },
            below: prefix, listing: listing)
    }

    /// The present names, page by page.
    func names(below prefix: ObjectKey = .empty, limit: Int = 2) async throws -> [String] {
        let state = try await reader.state(of: prefix)
        var names: [String] = []
        var last: [UInt8]?
        while true {
            let page = try await reader.page(below: prefix, state: state, after: last, limit: limit)
            names += page.map { String(decoding: $0.segment, as: UTF8.self) }
            guard let end = page.last else { return names }
            last = end.segment
        }
    }

    func row(_ segment: String, below prefix: ObjectKey = .empty) async throws -> MetadataRow? {
        try await reader.rows([Array(segment.utf8)], below: prefix).first
    }
}

func object(
    etag: String = "\"e\"", restore: RestoreHeader? = nil, archiveStatus: String? = nil, versionID: String? = nil,
    modified: Timestamp = Timestamp(seconds: 7), attributes: FileAttributes? = nil
) -> MetadataRow.Kind {
    .object(
        ObjectRecord(
            sizeBytes: 5, modified: modified, etag: etag, storageClass: StorageClass("Archive"),
            restore: restore, archiveStatus: archiveStatus, versionID: versionID, attributes: attributes))
}

let attributesOfATest = FileAttributes(
    mode: 0o100640, uid: 1000, gid: UInt32.max, modified: Timestamp(nanoseconds: -1_500_000_000),
    extended: ["user.comment": [0, 0xFF, 0x22], "user.ü": []])

func restoreRow(
    _ key: String, version: String? = nil, state: RestoreRow.State = .queued,
    order: RestoreOrder = RestoreOrder(days: 3, tier: .bulk), sizeBytes: UInt64 = 5, lane: String = "lane"
) -> RestoreRow {
    RestoreRow(
        key: ObjectKey(key), version: version, state: state, storageClass: StorageClass("ColdArchive"), lane: lane,
        order: order, sizeBytes: sizeBytes, etag: "\"e\"", isOneOfMany: false)
}

let wishOfATest = RequestRow(
    origin: .command, requester: "a test", target: "a key", days: 3, tier: .bulk, createdAt: Timestamp(seconds: 7),
    stage: .collected)

func overwrite(_ path: String, at offset: Int, _ bytes: [UInt8]) throws {
    let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    #expect(pwrite(descriptor, bytes, bytes.count, off_t(offset)) == bytes.count)
}

/// Makes the table unreadable. Nobody may have the file open.
func damage(_ path: String, table: String) throws {
    let page: Int64 = try {
        let connection = try Connection(.file(path))
        try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        let root = try connection.prepare("SELECT rootpage FROM sqlite_schema WHERE name = '\(table)'")
        #expect(try root.step())
        return root.int64(0)
    }()
    try overwrite(path, at: Int((page - 1) * 4096), Array(repeating: 0xA5, count: 4096))
}
