import HTTP
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let key = ObjectKey("k")

@Suite("replies of a store")
struct BucketStoreTests {
    private func failure(
        _ steps: [ScriptedTransport.Step],
        _ dialect: Dialect = .s3,
        _ body: (BucketStore) async throws(StoreError) -> Void
    ) async throws -> StoreError {
        let store = store(try configuration(dialect), ScriptedTransport(steps))
        return try #require(await #expect(throws: StoreError.self) { try await body(store) })
    }

    private func read(_ store: BucketStore, _ range: Range<UInt64> = 0..<10, _ sink: Bytes = Bytes())
        async throws(StoreError)
    { _ = try await store.get(key, version: nil, range: range, ifMatch: nil, into: sink) }

    @Test("a HEAD is read: size, class, restore state, version")
    func head() async throws {
        for (dialect, prefix) in [(Dialect.oss, "x-oss-"), (.s3, "x-amz-")] {
            let transport = ScriptedTransport([
                .reply(
                    200,
                    headers: [
                        "content-length": "1234", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT",
                        "etag": "\"E\"",
                        prefix + "storage-class": "ColdArchive",
                        prefix + "restore": #"ongoing-request="true""#,
                        prefix + "version-id": "v", prefix + "archive-status": "ARCHIVE_ACCESS",
                    ]
                )
            ])
            let record = try await store(try configuration(dialect), transport).head(key, version: nil)
            #expect(
                record
                    == ObjectRecord(
                        sizeBytes: 1234,
                        modified: Timestamp(seconds: 1_600_951_233),
                        etag: "\"E\"",
                        storageClass: StorageClass("ColdArchive"),
                        restore: .ongoing,
                        archiveStatus: "ARCHIVE_ACCESS",
                        versionID: "v",
                        attributes: FileAttributes()
                    )
            )
        }
    }

    @Test("a HEAD without a length makes no sense")
    func headWithoutLength() async throws {
        let error = try await failure([.reply(200, headers: ["etag": "x"])]) { store throws(StoreError) in
            _ = try await store.head(key, version: nil)
        }
        #expect(error.kind == .nonsense)
    }

    @Test("an OSS refusal of a HEAD is read from its header")
    func headRefusal() async throws {
        let encoded = Base64.encode(Array(errorBody("InvalidObjectState").utf8))
        let error = try await failure([.reply(403, headers: ["x-oss-err": encoded])], .oss) {
            store throws(StoreError) in
            _ = try await store.head(key, version: nil)
        }
        #expect(
            error
                == StoreError(
                    .invalidObjectState,
                    status: 403,
                    code: "InvalidObjectState",
                    message: "words",
                    requestID: "REQ"
                )
        )
    }

    @Test(
        "a refusal is known by its code, and without one by its status",
        arguments: [
            (403, "InvalidObjectState", StoreError.Kind.invalidObjectState), (404, "NoSuchKey", .noSuchKey),
            (404, "NoSuchBucket", .noSuchBucket), (412, "PreconditionFailed", .preconditionFailed),
            (416, "InvalidRange", .invalidRange), (403, "AccessDenied", .denied),
            (400, "ExpiredToken", .denied),
            (503, "SlowDown", .throttled), (503, "ServiceUnavailable", .unavailable),
            (429, "QpsLimitExceeded", .throttled),
            (500, "InternalError", .unavailable), (400, "RequestTimeout", .timeout),
            (400, "MalformedXML", .invalidRequest),
            (404, "", .noSuchKey), (401, "", .denied), (502, "", .unavailable), (429, "", .throttled),
            (405, "", .invalidRequest),
        ]
    )
    func kinds(_ status: Int, _ code: String, _ kind: StoreError.Kind) async throws {
        let body = code.isEmpty ? "<html>bad gateway" : errorBody(code)
        for dialect in Dialect.allCases where dialect != .oas {
            let error = try await failure(
                [
                    .reply(
                        status,
                        headers: ["x-oss-request-id": "OSS", "x-amz-request-id": "AMZ"],
                        body: body
                    )
                ],
                dialect
            ) { store throws(StoreError) in try await read(store) }
            #expect(error.kind == kind)
            #expect(error.status == status)
            #expect(error.code == (code.isEmpty ? "HTTP\(status)" : code))
            #expect(error.requestID == (!code.isEmpty ? "REQ" : dialect == .oss ? "OSS" : "AMZ"))
        }
    }

    @Test("a delay that the store names is kept, as seconds or as a date, up to a day")
    func retryAfter() async throws {
        for (value, delay) in [
            ("7", 7), (WireDate.rfc1123(instant + .seconds(7)), 7), ("90000", 86400),
            (WireDate.rfc1123(instant + .seconds(400 * 86400)), 86400),
        ] as [(String, Int)] {
            let error = try await failure([.reply(503, headers: ["retry-after": value])]) {
                store throws(StoreError) in
                try await read(store)
            }
            #expect(error.retryAfter == .seconds(delay))
        }
    }

    @Test("an exchange without a reply is told by its cause")
    func transport() async throws {
        for (cause, kind) in [
            (HTTPError.connect("x"), StoreError.Kind.unavailable), (.tls("x"), .denied),
            (.timeout("x"), .timeout),
            (.broken("x"), .unavailable), (.cancelled, .cancelled), (.malformedRequest("x"), .invalidRequest),
            (.rejected, .nonsense),
        ] {
            let error = try await failure([.failure(cause)]) { store throws(StoreError) in
                try await read(store)
            }
            #expect(error.kind == kind)
        }
    }

    @Test("a read past the end is clipped; the record is of the whole object")
    func clipped() async throws {
        let transport = ScriptedTransport([.reply(206, headers: partial(2..<5, of: 5), body: "cde")])
        let sink = Bytes()
        let record = try await store(try configuration(), transport)
            .get(key, version: nil, range: 2..<100, ifMatch: nil, into: sink)
        #expect(record.sizeBytes == 5)
        #expect(sink.text == "cde")
    }

    @Test("a reply that is not the range asked for delivers nothing")
    func wrongRange() async throws {
        let whole = ["content-length": "5", "etag": "x", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT"]
        for (status, headers) in [
            (200, whole), (206, whole), (206, partial(1..<6, of: 100)), (206, partial(0..<5, of: 100)),
            (206, partial(0..<10, of: 100, ["content-length": "11"])),
            (206, partial(0..<10, of: 100, ["content-range": "bytes 0-9/*"])),
        ] {
            let sink = Bytes()
            let error = try await failure([.reply(status, headers: headers, body: "01234")]) {
                store throws(StoreError) in
                try await read(store, 0..<10, sink)
            }
            #expect(error.kind == .nonsense)
            #expect(sink.text.isEmpty)
        }
    }

    @Test("a wrong range with no body is nonsense as well, as is a range far from the one asked for")
    func wrongRangeWithoutBody() async throws {
        for range in [0..<10, 500..<510] {
            let error = try await failure([.reply(206, headers: partial(3..<5, of: 100))]) {
                store throws(StoreError) in
                try await read(store, UInt64(range.lowerBound)..<UInt64(range.upperBound))
            }
            #expect(error.kind == .nonsense)
        }
    }

    @Test(
        "a size or a range that no file can have is nonsense",
        arguments: ["9223372036854775808", "18446744073709551615", "-1"])
    func impossibleSizes(size: String) async throws {
        var headers = partial(0..<10, of: 100)
        headers["content-range"] = "bytes 0-\(size)/\(size)"
        let ranged = try await failure([.reply(206, headers: headers)]) { store throws(StoreError) in
            try await read(store)
        }
        #expect(ranged.kind == .nonsense)
        headers["content-length"] = size
        let whole = try await failure([.reply(200, headers: headers)]) { store throws(StoreError) in
            _ = try await store.head(key, version: nil)
        }
        #expect(whole.kind == .nonsense)
    }

    @Test("a short body is unavailable, a long one nonsense, a refused one cancelled")
    func lengths() async throws {
        let headers = partial(0..<10, of: 100)
        let short = try await failure([.reply(206, headers: headers, body: "01234")]) {
            store throws(StoreError) in
            try await read(store)
        }
        #expect(short.kind == .unavailable)
        let cut = try await failure([.cut(206, headers: headers, body: "01234")]) {
            store throws(StoreError) in
            try await read(store)
        }
        #expect(cut.kind == .unavailable)
        let long = try await failure([.reply(206, headers: headers, body: "0123456789abc")]) {
            store throws(StoreError) in
            try await read(store)
        }
        #expect(long.kind == .nonsense)
        let refused = try await failure([.reply(206, headers: headers, body: "0123456789")]) {
            store throws(StoreError) in
            try await read(store, 0..<10, Bytes(max: 4))
        }
        #expect(refused.kind == .cancelled)
        let empty = try await failure([]) { store throws(StoreError) in try await read(store, 5..<5) }
        #expect(empty.kind == .invalidRange)
    }

    @Test("a listing with an error inside, or with anything else, is nonsense")
    func listNonsense() async throws {
        for body in [errorBody("InternalError"), "<a>", ""] {
            let error = try await failure([.reply(200, headers: ["x-amz-request-id": "R"], body: body)]) {
                store throws(StoreError) in _ = try await store.list(ListRequest(prefix: .empty))
            }
            #expect(error.kind == .nonsense)
            #expect(error.requestID == "R")
        }
    }

    @Test("the three replies to a restore are one step; others are refusals")
    func restore() async throws {
        func ask(_ step: ScriptedTransport.Step) async throws -> RestoreReply {
            try await store(try configuration(), ScriptedTransport([step]))
                .restore(key, version: nil, RestoreOrder(days: 1, tier: nil))
        }
        #expect(try await ask(.reply(202)) == .started)
        #expect(try await ask(.reply(200)) == .alreadyRestored)
        #expect(try await ask(.reply(409, body: errorBody("RestoreAlreadyInProgress"))) == .alreadyInProgress)
        for (status, code, kind) in [
            (403, "InvalidObjectState", StoreError.Kind.notArchived),
            (403, "ObjectAlreadyInActiveTierError", .notArchived),
            (400, "OperationNotSupported", .notArchived),
            (503, "GlacierExpeditedRetrievalNotAvailable", .tierUnavailable),
            (409, "FileImmutable", .protected), (200, "InternalError", .nonsense),
        ] {
            let error = await #expect(throws: StoreError.self) {
                try await ask(.reply(status, body: errorBody(code)))
            }
            #expect(error?.kind == kind)
        }
    }

    @Test("refreezing asks OSS, for whom a copy that is gone is no failure, and no other dialect")
    func refreeze() async throws {
        func ask(_ dialect: Dialect, _ step: ScriptedTransport.Step) async throws {
            try await store(try configuration(dialect), ScriptedTransport([step])).refreeze(key, version: nil)
        }
        try await ask(.oss, .reply(200))
        try await ask(.oss, .reply(409, body: errorBody("ArchiveRestoreFileStale")))
        for (dialect, step, kind, code) in [
            (Dialect.oss, .reply(409, body: errorBody("ArchiveRestoreNotFinished")), .invalidRequest, "ArchiveRestoreNotFinished"),
            (.oss, .reply(400, body: errorBody("OperationNotSupported")), .notArchived, "OperationNotSupported"),
            (.oss, .reply(404, body: errorBody("NoSuchKey")), .noSuchKey, "NoSuchKey"),
            (.s3, .failure(.connect("S3 is not asked")), .unsupported, "Unsupported"),
        ] as [(Dialect, ScriptedTransport.Step, StoreError.Kind, String)] {
            let error = await #expect(throws: StoreError.self) { try await ask(dialect, step) }
            #expect(error?.kind == kind)
            #expect(error?.code == code)
            #expect(error?.isTransient == false)
        }
    }

    @Test("real-time access of Archive is known where it can be asked")
    func archiveDirectRead() async throws {
        func ask(_ dialect: Dialect, _ step: ScriptedTransport.Step) async throws -> Bool {
            try await store(try configuration(dialect), ScriptedTransport([step])).archiveDirectRead()
        }
        let on = "<ArchiveDirectReadConfiguration><Enabled>true</Enabled></ArchiveDirectReadConfiguration>"
        #expect(try await ask(.oss, .reply(200, body: on)))
        #expect(try await !ask(.oss, .reply(200, body: on.replacing("true", with: "false"))))
        #expect(try await !ask(.oss, .reply(403, body: errorBody("AccessDenied"))))
        #expect(try await !ask(.oss, .reply(404, body: errorBody("NoSuchConfiguration"))))
        #expect(try await !ask(.s3, .failure(.connect("S3 is not asked"))))
        let error = await #expect(throws: StoreError.self) {
            try await ask(.oss, .reply(404, body: errorBody("NoSuchBucket")))
        }
        #expect(error?.kind == .noSuchBucket)
    }
}

@Suite("what replies teach")
struct LearningTests {
    @Test("a skewed clock is corrected by the store's, with one warning")
    func clockSkew() async throws {
        let log = LogLines()
        let refusal = ScriptedTransport.Step.reply(
            403,
            headers: ["date": WireDate.rfc1123(instant + .seconds(3600))],
            body: errorBody("RequestTimeTooSkewed")
        )
        let transport = ScriptedTransport([refusal, refusal, .reply(404)])
        let store = store(try configuration(.s3), transport, logger: log.logger)
        for kind in [StoreError.Kind.clockSkew, .clockSkew, .noSuchKey] {
            let error = await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
            #expect(error?.kind == kind)
        }
        #expect(
            transport.requests.map { $0.header("x-amz-date") }
                == ["20260102T030405Z", "20260102T040405Z", "20260102T040405Z"]
        )
        #expect(log.lines.count == 1)
        #expect(log.lines.first?.contains("-3600 s ahead") == true)
    }

    @Test("the error document's ServerTime serves where there is no Date")
    func serverTime() async throws {
        let body = errorBody("RequestTimeTooSkewed", "<ServerTime>2026-01-02T05:04:05.000Z</ServerTime>")
        let transport = ScriptedTransport([.reply(403, body: body), .reply(404)])
        let store = store(try configuration(.oss), transport)
        for _ in 0..<2 { await #expect(throws: StoreError.self) { try await store.head(key, version: nil) } }
        #expect(transport.requests.last?.header("x-oss-date") == "20260102T050405Z")
    }

    @Test("S3's hint to another region is followed once and kept")
    func region() async throws {
        for hint in [
            ScriptedTransport.Step.reply(301, headers: ["x-amz-bucket-region": "eu-west-1"]),
            .reply(400, body: errorBody("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")),
        ] {
            let transport = ScriptedTransport([hint, .reply(404), .reply(404)])
            let store = store(try StoreConfiguration(dialect: .s3, bucket: "bkt"), transport)
            for _ in 0..<2 {
                await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
            }
            #expect(
                transport.requests.map(\.url) == [
                    "https://bkt.s3.us-east-1.amazonaws.com/k", "https://bkt.s3.eu-west-1.amazonaws.com/k",
                    "https://bkt.s3.eu-west-1.amazonaws.com/k",
                ]
            )
            #expect(transport.requests.last?.header("authorization")?.contains("/eu-west-1/s3/") == true)
        }
    }

    @Test("a region that sends us back and forth is an error, not a loop")
    func regionLoop() async throws {
        let here = ScriptedTransport.Step.reply(301, headers: ["x-amz-bucket-region": "eu-west-1"])
        let transport = ScriptedTransport([here, .reply(301, headers: ["x-amz-bucket-region": "us-east-1"])])
        let store = store(try StoreConfiguration(dialect: .s3, bucket: "bkt"), transport)
        await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
        #expect(transport.requests.count == 2)
    }

    @Test("an endpoint that was given stays, whatever the region")
    func givenEndpoint() async throws {
        let transport = ScriptedTransport([
            .reply(301, headers: ["x-amz-bucket-region": "eu-west-1"]), .reply(404),
        ])
        let store = store(try configuration(.s3, endpoint: "http://127.0.0.1:9000"), transport)
        await #expect(throws: StoreError.self) { try await store.head(key, version: nil) }
        #expect(
            transport.requests.map(\.url) == ["http://127.0.0.1:9000/bkt/k", "http://127.0.0.1:9000/bkt/k"]
        )
    }

    @Test("OSS's refusal of a wrong endpoint names the right one")
    func endpointNamed() async throws {
        let body = errorBody("AccessDenied", "<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint>")
        let store = store(try configuration(.oss), ScriptedTransport([.reply(403, body: body)]))
        let error = await #expect(throws: StoreError.self) {
            try await store.list(ListRequest(prefix: .empty))
        }
        #expect(error?.kind == .denied)
        #expect(error?.message == "words The bucket's endpoint is oss-cn-beijing.aliyuncs.com.")
    }

    @Test("expired credentials are fetched anew, once")
    func renewed() async throws {
        let provider = CredentialsChain([RotatingCredentials()])
        let refusal = ScriptedTransport.Step.reply(400, body: errorBody("ExpiredToken"))
        let transport = ScriptedTransport([refusal, .reply(404), refusal, refusal])
        let store = store(try configuration(.s3), transport, credentials: provider)
        await #expect(throws: StoreError.self) { try await store.list(ListRequest(prefix: .empty)) }
        #expect(transport.requests.map { $0.header("x-amz-security-token") } == ["1", "2"])
        let error = await #expect(throws: StoreError.self) {
            try await store.list(ListRequest(prefix: .empty))
        }
        #expect(error?.code == "ExpiredToken")
        #expect(transport.requests.count == 4)
    }

    @Test("without credentials the error says where they were looked for")
    func noCredentials() async throws {
        let store = store(
            try configuration(.s3),
            ScriptedTransport([]),
            credentials: CredentialsChain([EnvironmentCredentials(.s3, [:])])
        )
        let error = await #expect(throws: StoreError.self) {
            try await store.list(ListRequest(prefix: .empty))
        }
        #expect(error?.kind == .denied)
        #expect(error?.message.contains("AWS_ACCESS_KEY_ID") == true)
    }
}
