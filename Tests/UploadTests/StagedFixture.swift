import Content
import Logging
import Metadata
import ObjectStore
import Synchronization
import ThawCore
import ThawTesting
import Wire

@testable import Upload

/// Staged files over a fake store, with parts of 64 bytes.
struct StagedFixture {
    static let partBytes: UInt64 = 64
    static let key = ObjectKey("file")

    let directory: TemporaryDirectory
    let store: FakeStore
    let area: StagingArea
    let writer: MetadataWriter
    let reader: MetadataReader
    var context: StagedFile.Context

    init(_ dialect: Dialect = .s3, areaBytesMax: UInt64 = 1 << 20, in earlier: StagedFixture? = nil) throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        directory = try earlier?.directory ?? TemporaryDirectory()
        store = earlier?.store ?? FakeStore(dialect)
        area = try StagingArea(directory: directory.path + "/staging", bytesMax: areaBytesMax, keepFreeBytes: 0)
        let path = directory.path + "/db"
        writer = try MetadataWriter(path: path, executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        reader = MetadataReader(path: path, executor: try ThreadExecutor(name: "db-reader"))
        var context = StagedFile.Context(
            store: store, area: area, contents: ContentCache(store: store, bytesMax: 1 << 20), writer: writer,
            storageClass: nil, log: quiet, stored: { _, _, _ in }, postpone: { _, _, _ in }, settled: { _ in })
        context.layout = PartLayout(partBytesMin: Self.partBytes)
        self.context = context
    }

    /// A file that nobody has stored yet.
    func make() throws -> StagedFile {
        try StagedFile(
            Self.key, base: nil, sizeBytes: 0, attributes: FileAttributes(mode: 0o100644), headers: nil,
            condition: .isAbsent, isChanged: true, in: context)
    }

    /// A change of the object that is there.
    func change() throws -> StagedFile {
        guard let record = store.record(Self.key) else { return try make() }
        return try StagedFile(
            Self.key, base: StagedFile.Base(key: Self.key, etag: record.etag, sizeBytes: record.sizeBytes),
            sizeBytes: record.sizeBytes, attributes: FileAttributes(mode: 0o100644), headers: nil,
            condition: .matches(etag: record.etag), isChanged: false, in: context)
    }

    var stored: [UInt8]? { store.content(Self.key) }
}

func bytes(_ count: Int, from first: Int = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: first + $0 * 7) }
}
