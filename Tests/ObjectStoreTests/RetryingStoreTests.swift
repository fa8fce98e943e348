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
        let copies = LargeCopy(try retrying(transport, Waits()), wholeBytesMax: 8, partBytes: 10)
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
