import HTTP
import Synchronization
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let key = ObjectKey("k")

/// Keeps the waits instead of waiting.
private final class Waits: Sendable {
    private let kept = Mutex<[Duration]>([])
    private let isCancelled: Bool
    init(cancelled: Bool = false) { isCancelled = cancelled }
    var all: [Duration] { kept.withLock { $0 } }
    var sleep: RetryingStore.Sleep {
        { [self] delay throws(CancellationError) in
            kept.withLock { $0.append(delay) }
            if isCancelled { throw CancellationError() }
        }
    }
}

@Suite("sending again")
struct RetryingStoreTests {
    private func retrying(
        _ transport: ScriptedTransport,
        _ waits: Waits,
        _ log: LogLines = LogLines(),
        _ dialect: Dialect = .s3
    ) throws -> RetryingStore {
        RetryingStore(store(try configuration(dialect), transport), logger: log.logger, sleep: waits.sleep)
    }

    private let busy = ScriptedTransport.Step.reply(503, body: errorBody("SlowDown"))

    @Test("five attempts, waits that stay under a doubling ceiling, one line in the log")
    func attempts() async throws {
        let transport = ScriptedTransport(Array(repeating: busy, count: 9))
        let waits = Waits()
        let log = LogLines()
        let store = try retrying(transport, waits, log)
        let error = await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
        #expect(error?.kind == .throttled)
        #expect(transport.requests.count == 5)
        #expect(waits.all.count == 4)
        for (wait, ceiling) in zip(waits.all, [200, 400, 800, 1600]) {
            #expect(wait >= .zero && wait <= .milliseconds(ceiling))
        }
        #expect(log.lines.count == 1)
        #expect(log.lines.first?.contains("SlowDown") == true)
    }

    @Test("success after a failure is success, and silent")
    func recovers() async throws {
        let list = "<ListBucketResult></ListBucketResult>"
        let transport = ScriptedTransport([
            busy, .failure(.connect("x")), .failure(.timeout("x")), .reply(200, body: list),
        ])
        let log = LogLines()
        let page = try await retrying(transport, Waits(), log).list(ListRequest(prefix: .empty))
        #expect(page.objects.isEmpty)
        #expect(log.lines.isEmpty)
    }

    @Test("what will not change is asked once")
    func permanent() async throws {
        for (status, code) in [
            (403, "InvalidObjectState"), (404, "NoSuchKey"), (403, "AccessDenied"), (400, "MalformedXML"),
        ] {
            let transport = ScriptedTransport([.reply(status, body: errorBody(code)), .reply(200)])
            let store = try retrying(transport, Waits())
            await #expect(throws: StoreError.self) {
                try await store.restore(key, version: nil, RestoreOrder(days: 1, tier: nil))
            }
            #expect(transport.requests.count == 1)
        }
    }

    @Test("a delay that the store names is kept, unless it is too long")
    func named() async throws {
        let waits = Waits()
        let transport = ScriptedTransport([
            .reply(503, headers: ["retry-after": "9"]), .reply(503, headers: ["retry-after": "3600"]),
            .reply(200),
        ])
        let store = try retrying(transport, waits)
        let error = await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
        #expect(error?.retryAfter == .seconds(3600))
        #expect(waits.all == [.seconds(9)])
    }

    @Test("a skewed clock is tried once more, without a wait")
    func skew() async throws {
        let refusal = ScriptedTransport.Step.reply(
            403,
            headers: ["date": WireDate.rfc1123(instant + .seconds(7200))],
            body: errorBody("RequestTimeTooSkewed")
        )
        let waits = Waits()
        let transport = ScriptedTransport([refusal, .reply(202), refusal, refusal, .reply(202)])
        let store = try retrying(transport, waits)
        let order = RestoreOrder(days: 1, tier: nil)
        #expect(try await store.restore(key, version: nil, order) == .started)
        await #expect(throws: StoreError.self) { try await store.restore(key, version: nil, order) }
        #expect(transport.requests.count == 4)
        #expect(waits.all.isEmpty)
    }

    @Test("a read goes on from the byte it reached, and delivers none twice")
    func resumes() async throws {
        let transport = ScriptedTransport([
            .cut(206, headers: partial(10..<20, of: 100), body: "0123"), busy,
            .cut(206, headers: partial(14..<20, of: 100), body: "45"),
            .reply(206, headers: partial(16..<20, of: 100), body: "6789"),
        ])
        let sink = Bytes()
        let record = try await retrying(transport, Waits())
            .get(key, version: nil, range: 10..<20, ifMatch: "\"e\"", into: sink)
        #expect(sink.text == "0123456789")
        #expect(record.sizeBytes == 100)
        #expect(
            transport.requests.map { $0.header("range") } == [
                "bytes=10-19", "bytes=14-19", "bytes=14-19", "bytes=16-19",
            ]
        )
    }

    @Test("a read that nothing pins to one object is not resumed")
    func unpinned() async throws {
        let cut = ScriptedTransport.Step.cut(206, headers: partial(0..<10, of: 100), body: "0123")
        let transport = ScriptedTransport([busy, cut, cut])
        let store = try retrying(transport, Waits())
        let sink = Bytes()
        let error = await #expect(throws: StoreError.self) {
            try await store.get(key, version: nil, range: 0..<10, ifMatch: nil, into: sink)
        }
        #expect(error?.kind == .unavailable)
        #expect(sink.text == "0123")
        #expect(transport.requests.count == 2)
    }

    @Test("a task that is cancelled while it waits ends as cancelled")
    func cancelled() async throws {
        let transport = ScriptedTransport([busy, .reply(200)])
        let store = try retrying(transport, Waits(cancelled: true))
        let error = await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
        #expect(error?.kind == .cancelled)
        #expect(transport.requests.count == 1)
    }

    @Test("of many that were to be deleted, those that a busy store left are sent again")
    func deleteMany() async throws {
        func failed(_ key: String, _ code: String) -> String {
            "<Error><Key>\(key)</Key><Code>\(code)</Code><Message>words</Message></Error>"
        }
        let transport = ScriptedTransport([
            .reply(200, body: "<DeleteResult>\(failed("b", "InternalError"))\(failed("c", "AccessDenied"))</DeleteResult>"),
            busy, .reply(200, body: "<DeleteResult></DeleteResult>"),
        ])
        let store = try retrying(transport, Waits())
        let failures = try await store.delete(["a", "b", "c"].map { ObjectKey($0) })
        #expect(failures.map(\.key) == [ObjectKey("c")])
        let last = try #require(transport.requests.last)
        #expect(last.text.hasSuffix("<Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>"))
        #expect(try await store.delete([]).isEmpty)
        #expect(transport.requests.count == 3)
    }

    @Test("a refusal is believed at once where nothing tells whose the object is that is there")
    func refusedWithoutTime() async throws {
        let refusal = ScriptedTransport.Step.reply(412, body: errorBody("PreconditionFailed"))
        let transport = ScriptedTransport([.failure(.broken("x")), refusal])
        let store = try retrying(transport, Waits())
        let error = await #expect(throws: StoreError.self) {
            try await store.put(key, .bytes([1]), ObjectDraft(condition: .isAbsent))
        }
        #expect(error?.kind == .preconditionFailed)
        #expect(transport.requests.map(\.method) == [.put, .put])
    }

    private func head(_ size: Int = 9, etag: String = "E", _ more: [String: String] = [:]) -> ScriptedTransport.Step {
        .reply(
            200,
            headers: [
                "content-length": "\(size)", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"\(etag)\"",
            ].merging(more) { $1 })
    }

    private let refusal = ScriptedTransport.Step.reply(412, body: errorBody("PreconditionFailed"))

    @Test("a copy onto itself whose reply was lost is found to have happened, though its ETag is another now")
    func copyOntoItself() async throws {
        let draft = ObjectDraft(
            headers: ObjectHeaders(metadata: ["mode": "33188", "mtime": "1.5"]), storageClass: StorageClass("GLACIER"))
        let done = ["x-amz-meta-mode": "33188", "x-amz-meta-mtime": "1.5", "x-amz-storage-class": "GLACIER"]
        let source = CopySource(key: key, etag: "\"E-2\"")
        for (now, isDone) in [
            (done, true), (done.merging(["x-amz-meta-mode": "33152"]) { $1 }, false),
            (done.merging(["x-amz-storage-class": "STANDARD_IA"]) { $1 }, false),
        ] {
            let last = head(etag: "F", now)
            let transport = ScriptedTransport([.failure(.broken("x")), refusal, last, last])
            let store = try retrying(transport, Waits())
            if isDone {
                #expect(try await store.copy(source, to: key, draft).etag == "\"F\"")
            } else {
                let error = await #expect(throws: StoreError.self) { try await store.copy(source, to: key, draft) }
                #expect(error?.kind == .preconditionFailed)
            }
        }
    }

    @Test("a completion whose reply was lost is told by size and checksum where the object has no time")
    func completeWithoutTime() async throws {
        let sum = "M3eFcAZSQlc="
        let parts = [UploadedPart(number: 1, sizeBytes: 5, etag: "\"P\"", checksum: CRC64.parse(base64: sum))]
        let unknown = [UploadedPart(number: 1, sizeBytes: 5, etag: "\"P\"", checksum: nil)]
        let gone = ScriptedTransport.Step.reply(404, body: errorBody("NoSuchUpload"))
        let summed = ["x-amz-checksum-crc64nvme": sum]
        for (parts, found, isDone) in [
            (parts, head(5, summed), true), (parts, head(6, summed), false),
            (parts, head(5, ["x-amz-checksum-crc64nvme": "AAAAAAAAAAA="]), false),
            (unknown, head(5, etag: "E-1"), true), (unknown, head(5, etag: "E-2"), false), (unknown, head(5), false),
        ] {
            let transport = ScriptedTransport([.failure(.broken("x")), gone, found])
            let store = try retrying(transport, Waits())
            let upload = MultipartUpload(key: key, id: "U")
            if isDone {
                #expect(try await store.completeUpload(upload, parts, ObjectDraft()).sizeBytes == 5)
            } else {
                let error = await #expect(throws: StoreError.self) {
                    try await store.completeUpload(upload, parts, ObjectDraft())
                }
                #expect(error?.kind == .noSuchUpload)
            }
        }
    }

    @Test("an OSS put that arrived wrong replaces what is there only if that is ours", arguments: [true, false])
    func corrupted(isOurs: Bool) async throws {
        let wrong = ScriptedTransport.Step.reply(200, headers: ["etag": "\"E\"", "x-oss-hash-crc64ecma": "1"])
        let right = ScriptedTransport.Step.reply(200, headers: ["etag": "\"E\""])
        let found = head(1, ["x-oss-meta-mtime": isOurs ? "1.5" : "2.5"])
        let exists = ScriptedTransport.Step.reply(409, body: errorBody("FileAlreadyExists"))
        let transport = ScriptedTransport([wrong, found] + (isOurs ? [right] : [exists, found]))
        let store = try retrying(transport, Waits(), LogLines(), .oss)
        let draft = ObjectDraft(headers: ObjectHeaders(metadata: ["mtime": "1.5"]), condition: .isAbsent)
        if isOurs {
            _ = try await store.put(key, .bytes([1]), draft)
        } else {
            let error = await #expect(throws: StoreError.self) { try await store.put(key, .bytes([1]), draft) }
            #expect(error?.kind == .preconditionFailed)
        }
        let forbids = transport.requests.filter { $0.method == .put }.map { $0.header("x-oss-forbid-overwrite") }
        #expect(forbids == ["true", isOurs ? nil : "true"])
    }

    @Test("a copy by parts onto itself replaces only what it is a copy of")
    func largeCopyOntoItself() async throws {
        let copied = "<CopyPartResult><ETag>\"P\"</ETag></CopyPartResult>"
        let transport = ScriptedTransport([
            head(), head(), .reply(200, body: "<R><UploadId>U</UploadId></R>"), .reply(200, body: copied),
            refusal, .reply(204),
        ])
        let copies = LargeCopy(store(try configuration(), transport), notes: nil, wholeBytesMax: 8, partBytes: 10)
        let error = await #expect(throws: StoreError.self) {
            try await copies.copy(CopySource(key: key), to: key, ObjectDraft())
        }
        #expect(error?.kind == .preconditionFailed)
        #expect(transport.requests.map(\.method) == [.head, .head, .post, .put, .post, .delete])
        #expect(transport.requests[4].header("if-match") == "\"E\"")
    }

    @Test("a copy by parts that fails is aborted, and names the object that it is of")
    func largeCopy() async throws {
        let head = ScriptedTransport.Step.reply(
            200,
            headers: [
                "content-length": "9", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"E\"",
                "x-amz-meta-mode": "33188", "x-amz-storage-class": "STANDARD_IA",
            ])
        let transport = ScriptedTransport([
            head, head, .reply(200, body: "<R><UploadId>U</UploadId></R>"),
            .reply(412, body: errorBody("PreconditionFailed")), .reply(204),
        ])
        let copies = LargeCopy(try retrying(transport, Waits()), notes: nil, wholeBytesMax: 8, partBytes: 10)
        let error = await #expect(throws: StoreError.self) {
            try await copies.copy(CopySource(key: key), to: ObjectKey("l"), nil)
        }
        #expect(error?.kind == .preconditionFailed)
        #expect(transport.requests.map(\.method) == [.head, .head, .post, .put, .delete])
        #expect(transport.requests[2].header("x-amz-meta-mode") == "33188")
        #expect(transport.requests[2].header("x-amz-storage-class") == "STANDARD_IA")
        #expect(transport.requests[3].header("x-amz-copy-source-if-match") == "\"E\"")
        #expect(transport.requests[3].header("x-amz-copy-source-range") == "bytes=0-8")
    }
}
