import CZlib
import Logging
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Inventory

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// One gzip member.
func gzip(_ text: String) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(
        &stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var input = Array(text.utf8)
    var output = [UInt8](repeating: 0, count: input.count + 256)
    let room = output.count
    input.withUnsafeMutableBufferPointer { input in
        output.withUnsafeMutableBufferPointer { output in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(room)
            #expect(deflate(&stream, Z_FINISH) == Z_STREAM_END)
        }
    }
    return Array(output[..<(room - Int(stream.avail_out))])
}

/// A report in a store of its own, and a metadata store to load it into.
final class Fixture {
    let store: FakeStore
    let directory: TemporaryDirectory
    var path: String { directory.path + "/metadata.sqlite" }
    static let schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
    static let manifest = "reports/bkt/daily/2024-01-02T00-00Z/manifest.json"

    init(_ dialect: Dialect = .s3) throws {
        store = FakeStore(dialect)
        directory = try TemporaryDirectory()
    }

    /// A row of `schema`; the key as it is written there.
    static func row(
        _ key: String, size: Int = 5, etag: String = "e", class name: String = "STANDARD", isLatest: Bool = true,
        isDeleteMarker: Bool = false
    ) -> String {
        "\"bkt\",\"\(key)\",\"v\",\"\(isLatest)\",\"\(isDeleteMarker)\",\"\(isDeleteMarker ? "" : "\(size)")\","
            + "\"2024-01-01T10:20:30.000Z\",\"\(etag)\",\"\(name)\"\n"
    }

    /// Puts a report of these files, created at a time in seconds; `damage` has its way with the gzip files.
    func put(
        _ files: [[String]], createdAt seconds: Int64 = 1_704_153_600, manifest key: String = Fixture.manifest,
        bucket: String = "bkt", damage: ([UInt8]) -> [UInt8] = { $0 }
    ) {
        var list: [JSON] = []
        for (index, rows) in files.enumerated() {
            let content = gzip(rows.joined())
            let name = "reports/bkt/daily/data/\(seconds)-\(index).csv.gz"
            store.put(name, damage(content))
            list.append([
                "key": JSON(name), "size": JSON(content.count), "MD5checksum": JSON(Hex.encode(Digest.md5(content))),
            ])
        }
        let manifest: JSON = [
            "sourceBucket": JSON(bucket), "destinationBucket": "arn:aws:s3:::bkt", "version": "2016-11-30",
            "creationTimestamp": JSON("\(seconds * 1000)"), "fileFormat": "CSV", "fileSchema": JSON(Self.schema),
            "files": .array(list),
        ]
        let bytes = Array(manifest.text.utf8)
        store.put(key, bytes)
        store.put(key.replacingSuffix("json", "checksum"), Array(Hex.encode(Digest.md5(bytes)).utf8))
    }

    @discardableResult
    func load(
        _ location: String = Fixture.manifest, prefix: String = "", onlyNewer: Bool = false
    ) async throws -> InventoryImport.Outcome {
        let load = try CacheLoad(path: path, executor: ThreadExecutor(name: "db-loader"), log: quiet)
        let location = try #require(InventoryLocation(location, in: store.dialect))
        return try await InventoryImport(
            location, in: store, about: store, of: "bkt", prefix: ObjectKey(prefix), log: quiet
        ).run(into: load, onlyNewer: onlyNewer)
    }

    /// Why the report is not loaded.
    func failure(_ location: String = Fixture.manifest) async -> String {
        do {
            try await load(location)
            return "it was loaded"
        } catch {
            return "\(error)"
        }
    }

    func reader() throws -> MetadataReader {
        MetadataReader(path: path, executor: try ThreadExecutor(name: "db-reader"))
    }

    /// The names in a directory that is known as a whole; nil when it is not.
    func names(_ prefix: String = "") async throws -> [String]? {
        let reader = try reader()
        let state = try await reader.state(of: ObjectKey(prefix))
        guard state.listedAt > .epoch, state.listedAt == state.startedAt else { return nil }
        return try await reader.page(below: ObjectKey(prefix), state: state, after: nil, limit: 100)
            .map { String(decoding: $0.segment, as: UTF8.self) }
    }

    func record(_ segment: String, below prefix: String = "") async throws -> ObjectRecord? {
        let row = try await reader().rows([Array(segment.utf8)], below: ObjectKey(prefix)).first
        guard case .object(let record) = row?.kind else { return nil }
        return record
    }
}

extension String {
    func replacingSuffix(_ old: String, _ new: String) -> String { dropLast(old.count) + new }
}
