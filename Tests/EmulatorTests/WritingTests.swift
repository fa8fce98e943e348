import Emulator
import Glibc
import HTTP
import Logging
import ObjectStore
import Synchronization
import Testing
import ThawCore
import Wire

private let bucketDialects = Dialect.allCases.filter { $0 != .oas }

/// The product's own client against the emulator: every operation that writes, in every dialect.
@Suite struct WritingTests {
    @Test("objects are put, described, copied and deleted", arguments: bucketDialects)
    func objects(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in try await Exercise(store: store).objects() }
    }

    @Test("conditions hold or refuse", arguments: bucketDialects)
    func conditions(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in
            try await Exercise(store: store).absence()
            if dialect.speaksS3 { try await Exercise(store: store).matches() }
        }
    }

    @Test("an object is made of parts that were sent and parts that were copied", arguments: bucketDialects)
    func parts(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in try await Exercise(store: store).parts() }
    }

    @Test("many are deleted at once, whatever their keys", arguments: bucketDialects)
    func many(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in
            try await Exercise(store: store).many(["a", "dir/", "<&>\"'", "中 +%", "a\u{1}b", "c\rd", "e\u{FFFE}"])
        }
    }

    @Test("a large object is copied by parts, with its headers", arguments: bucketDialects)
    func large(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in try await Exercise(store: store).large() }
    }

    @Test("bytes that change on the way are noticed, and sent again", arguments: bucketDialects)
    func corruption(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, faults in
            try await faults(#"{"method": "PUT", "times": 1, "effect": {"corrupt": true}}"#)
            let error = await #expect(throws: StoreError.self) { try await store.put("k", "content") }
            #expect(error?.kind == .corrupted)
            try await faults(#"{"method": "PUT", "times": 1, "effect": {"corrupt": true}}"#)
            let draft = ObjectDraft(headers: ObjectHeaders(metadata: ["mtime": "1.5"]), condition: .isAbsent)
            _ = try await retrying(store).put("new", "content", draft)
            #expect(try await store.content("new") == "content")
        }
    }

    @Test("a write whose reply was lost is found to have happened", arguments: bucketDialects)
    func lostReplies(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, faults in
            let lost = #"{"op": "PutObject", "times": 1, "effect": {"lose_reply": true}}"#
            let retrying = retrying(store)
            var draft = ObjectDraft(
                headers: ObjectHeaders(metadata: ["mtime": "1600000000.000000001"]), condition: .isAbsent)
            try await faults(lost)
            let record = try await retrying.put("k", "content", draft)
            #expect(record.sizeBytes == 7)
            // Another's object of the same size is not taken for ours.
            let error = await #expect(throws: StoreError.self) { try await retrying.put("k", "CONTENT", draft) }
            #expect(error?.kind == .preconditionFailed)
            // Nor one that was written at another time.
            draft.headers.metadata["mtime"] = "1600000000.000000002"
            let other = await #expect(throws: StoreError.self) { try await retrying.put("k", "content", draft) }
            #expect(other?.kind == .preconditionFailed)

            let upload = try await store.beginUpload("m", draft)
            let part = try await store.uploadPart(upload, number: 1, .bytes(Array("content".utf8)))
            try await faults(lost.replacing("PutObject", with: "CompleteMultipartUpload"))
            let whole = try await retrying.completeUpload(upload, [part], draft)
            #expect(whole.sizeBytes == 7)

            // What was uploaded in parts has another ETag as soon as S3 has copied it, here onto itself.
            draft.condition = .always
            draft.headers.metadata["mode"] = "33152"
            try await faults(lost.replacing("PutObject", with: "CopyObject"))
            let copy = try await retrying.copy(CopySource(key: "m", etag: whole.etag), to: "m", draft)
            #expect(copy.attributes?.mode == 0o100600)
            #expect(dialect == .oss || copy.etag != whole.etag && !copy.etag.contains("-"))
            #expect(try await store.content("m") == "content")
        }
    }

    @Test("a copy that fails after it began with success fails", arguments: bucketDialects)
    func errorInside(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, faults in
            try await store.put("k", "content")
            try await faults(#"{"op": "CopyObject", "times": 1, "effect": {"error_body": "InternalError"}}"#)
            let error = await #expect(throws: StoreError.self) {
                try await store.copy(CopySource(key: "k"), to: "l", nil)
            }
            #expect(error?.kind == .unavailable)
            #expect(error?.code == "InternalError")
        }
    }

    @Test("a frozen object is deleted and overwritten, and not copied", arguments: [Dialect.oss, .s3])
    func frozen(_ dialect: Dialect) async throws {
        try await withStore(dialect) { store, _ in
            let cold = ObjectDraft(storageClass: StorageClass(dialect == .oss ? "ColdArchive" : "GLACIER"))
            let record = try await store.put("k", .bytes([1]), cold)
            #expect(record.storageClass == cold.storageClass)
            let error = await #expect(throws: StoreError.self) {
                try await store.copy(CopySource(key: "k"), to: "l", nil)
            }
            #expect(error?.kind == .invalidObjectState)
            try await store.put("k", "warm")
            #expect(try await store.content("k") == "warm")
            _ = try await store.put("k", .bytes([1]), cold)
            try await store.delete("k", version: nil, condition: .always)
        }
    }

    private func retrying(_ store: BucketStore) -> RetryingStore {
        RetryingStore(store, logger: quiet) { _ throws(CancellationError) in }
    }
}

private let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }

/// Runs `body` with a bucket of a fresh emulator, and a way to make things go wrong there.
private func withStore(
    _ dialect: Dialect,
    _ body: (BucketStore, _ faults: (String) async throws -> Void) async throws -> Void
) async throws {
    var configuration = EmulatorConfiguration()
    configuration.port = 0
    configuration.buckets = ["bkt"]
    let server = try await EmulatorServer.start(configuration)
    let client = try HTTPClient()
    let store = BucketStore(
        try StoreConfiguration(
            dialect: dialect, bucket: "bkt", endpoint: server.url, region: "cn-hangzhou"),
        credentials: FixedCredentials(Credentials(accessKeyID: "thawfs", secretAccessKey: "thawfs-secret")),
        transport: client, logger: quiet)
    do {
        try await body(store) { rule in
            let request = HTTPRequest(
                method: .post, url: server.url + "/_emulator/faults", body: .bytes(Array(rule.utf8)))
            let reply = try await client.perform(request)
            #expect(reply.status < 300)
        }
    } catch {
        Issue.record("\(error)")
    }
    client.shutdown()
    try await server.stop()
}

/// What any store must do with an empty bucket.
struct Exercise<Store: ObjectStore> {
    let store: Store

    private var own: String { store.dialect == .oss ? "Standard" : "STANDARD" }

    func objects() async throws {
        let headers = ObjectHeaders(
            metadata: ["mode": "33188", "uid": "0", "mtime": "1600000000.000000001", "note": "a  b"],
            standard: ["content-type": "text/plain", "cache-control": "no-cache"])
        let record = try await store.put(
            "dir/a b+%中", .bytes(Array("hello".utf8)), ObjectDraft(headers: headers))
        #expect(record.sizeBytes == 5)
        #expect(record.attributes == FileAttributes(metadata: headers.metadata))
        let found = try await store.describe("dir/a b+%中", version: nil)
        #expect(found.record.etag == record.etag)
        #expect(found.record.modified.seconds - record.modified.seconds <= 1)
        #expect(found.record.attributes == record.attributes)
        #expect(found.headers == headers)
        if let checksum = found.checksum { #expect(checksum == CRC64.of("hello".utf8, .init(store.dialect))) }

        var changed = ObjectDraft(headers: headers)
        changed.headers.metadata["mode"] = "33152"
        let source = CopySource(key: "dir/a b+%中", etag: record.etag, record: found.record)
        let again = try await store.copy(source, to: source.key, changed)
        #expect(again.attributes?.mode == 0o100600)
        #expect(again.sizeBytes == 5)
        #expect(try await store.describe(source.key, version: nil).headers == changed.headers)

        let copy = try await store.copy(CopySource(key: source.key), to: "copy", nil)
        #expect(copy.sizeBytes == 5)
        #expect(try await store.describe("copy", version: nil).headers == changed.headers)
        #expect(try await store.content("copy") == "hello")
        let other = CopySource(key: source.key, etag: "\"00000000000000000000000000000000\"")
        let error = await #expect(throws: StoreError.self) { try await store.copy(other, to: "x", nil) }
        #expect(error?.kind == .preconditionFailed)

        _ = try await store.put("dir/", .bytes([]), ObjectDraft())
        #expect(try await store.head("dir/", version: nil).sizeBytes == 0)
        #expect(try await store.head("dir/", version: nil).attributes == FileAttributes())
        for _ in 0..<2 { try await store.delete("dir/", version: nil, condition: .always) }
        let gone = await #expect(throws: StoreError.self) { try await store.head("dir/", version: nil) }
        #expect(gone?.kind == .noSuchKey)
    }

    func absence() async throws {
        let draft = ObjectDraft(condition: .isAbsent)
        _ = try await store.put("k", .bytes([1]), draft)
        let error = await #expect(throws: StoreError.self) { try await store.put("k", .bytes([2]), draft) }
        #expect(error?.kind == .preconditionFailed)
        let upload = try await store.beginUpload("k", draft)
        let part = try await store.uploadPart(upload, number: 1, .bytes([3]))
        let late = await #expect(throws: StoreError.self) { try await store.completeUpload(upload, [part], draft) }
        #expect(late?.kind == .preconditionFailed)
        try await store.abortUpload(upload)
        try await store.abortUpload(upload)
    }

    func matches() async throws {
        let first = try await store.put("m", .bytes([1]), ObjectDraft())
        let draft = ObjectDraft(condition: .matches(etag: first.etag))
        let second = try await store.put("m", .bytes([2]), draft)
        let error = await #expect(throws: StoreError.self) { try await store.put("m", .bytes([3]), draft) }
        #expect(error?.kind == .preconditionFailed)
        let refused = await #expect(throws: StoreError.self) {
            try await store.delete("m", version: nil, condition: .matches(etag: first.etag))
        }
        #expect(refused?.kind == .preconditionFailed)
        try await store.delete("m", version: nil, condition: .matches(etag: second.etag))
    }

    func parts() async throws {
        let partBytes = 5 << 20
        let content = (0..<partBytes + 1000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
        let file = try #require(temporaryFile(content))
        let draft = ObjectDraft(headers: ObjectHeaders(metadata: ["mode": "33188"]))
        let upload = try await store.beginUpload("parts", draft)
        let first = try await store.uploadPart(upload, number: 1, .file(file, 0..<UInt64(partBytes)))
        let second = try await store.uploadPart(
            upload, number: 2, .file(file, UInt64(partBytes)..<UInt64(content.count)))
        let record = try await store.completeUpload(upload, [first, second], draft)
        #expect(record.sizeBytes == UInt64(content.count))
        let found = try await store.describe("parts", version: nil)
        #expect(found.record.etag == record.etag)
        #expect(found.record.attributes?.mode == 0o100644)
        #expect(try await store.bytes("parts") == content)
        if let checksum = found.checksum { #expect(checksum == CRC64.of(content, .init(store.dialect))) }

        let next = try await store.beginUpload("mixed", ObjectDraft())
        let copied = try await store.copyPart(
            next, number: 1, from: CopySource(key: "parts", etag: record.etag), range: 0..<UInt64(partBytes))
        let sent = try await store.uploadPart(next, number: 2, .bytes(Array("end".utf8)))
        _ = try await store.completeUpload(next, [copied, sent], ObjectDraft())
        #expect(try await store.bytes("mixed") == content[..<partBytes] + Array("end".utf8))
        let gone = await #expect(throws: StoreError.self) {
            try await store.completeUpload(next, [copied, sent], ObjectDraft())
        }
        #expect(gone?.kind == .noSuchUpload)
    }

    func many(_ keys: [ObjectKey]) async throws {
        for key in keys { _ = try await store.put(key, .bytes([1]), ObjectDraft()) }
        #expect(try await store.delete(keys + ["never there"]) == [])
        #expect(try await store.list(ListRequest(prefix: .empty, delimiter: nil)).objects.isEmpty)
    }

    func large() async throws {
        let content = [UInt8](repeating: 7, count: (5 << 20) + 1)
        let headers = ObjectHeaders(metadata: ["mode": "33188", "x": "y"], standard: ["content-type": "text/plain"])
        _ = try await store.put("large", .bytes(content), ObjectDraft(headers: headers))
        let copies = LargeCopy(store, notes: nil, wholeBytesMax: 1 << 20, partBytes: 5 << 20)
        let copy = try await copies.copy(CopySource(key: "large"), to: "copy", nil)
        #expect(copy.sizeBytes == UInt64(content.count))
        #expect(try await store.describe("copy", version: nil).headers == headers)
        #expect(try await store.bytes("copy") == content)
    }
}

private func temporaryFile(_ content: [UInt8]) -> LocalFile? {
    var path = Array("/tmp/thawfs-XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    guard descriptor >= 0 else { return nil }
    unlink(path)
    let file = LocalFile(descriptor: descriptor)
    let result = content.withUnsafeBytes { file.write($0, at: 0) }
    guard case .success = result else { return nil }
    return file
}

extension ObjectKey: ExpressibleByStringLiteral {
    package init(stringLiteral text: String) { self.init(text) }
}

private final class Collected: ByteSink {
    private let collected = Mutex<[UInt8]>([])
    var bytes: [UInt8] { collected.withLock { $0 } }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        collected.withLock { $0 += Array(bytes) }
        return true
    }
}

extension ObjectStore {
    @discardableResult
    fileprivate func put(
        _ key: ObjectKey, _ text: String, _ draft: ObjectDraft = ObjectDraft()
    ) async throws(StoreError) -> ObjectRecord { try await put(key, .bytes(Array(text.utf8)), draft) }

    fileprivate func bytes(_ key: ObjectKey) async throws -> [UInt8] {
        let sink = Collected()
        _ = try await get(key, version: nil, range: 0..<UInt64(1 << 30), ifMatch: nil, into: sink)
        return sink.bytes
    }

    fileprivate func content(_ key: ObjectKey) async throws -> String {
        String(decoding: try await bytes(key), as: UTF8.self)
    }
}
