import HTTP
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let key = ObjectKey("a b")
private let hello = Payload.bytes(Array("hello".utf8))
private let ossSum = "11177612005948864433"
private let s3Sum = "M3eFcAZSQlc="
private let written = ["etag": "\"E\"", "date": "Thu, 24 Sep 2020 12:40:33 GMT"]

@Suite("writes as they go on the wire")
struct WritingTests {
    private func sent(
        _ dialect: Dialect, _ step: ScriptedTransport.Step = .reply(200, headers: written),
        _ write: (BucketStore) async throws -> Void
    ) async throws -> HTTPRequest {
        let transport = ScriptedTransport([step])
        try await write(store(try configuration(dialect), transport))
        #expect(transport.requests.count == 1)
        return try #require(transport.requests.first)
    }

    @Test("an S3 put: unsigned payload, its checksum, its headers and its condition")
    func putS3() async throws {
        let draft = ObjectDraft(
            headers: ObjectHeaders(metadata: ["mode": "33188"], standard: ["cache-control": "no-cache"]),
            storageClass: StorageClass("GLACIER"), condition: .isAbsent)
        var record: ObjectRecord?
        let request = try await sent(.s3) { record = try await $0.put(key, hello, draft) }
        #expect(request.method == .put)
        #expect(request.text == "hello")
        #expect(request.timeout == nil)
        #expect(request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD")
        #expect(request.header("x-amz-checksum-crc64nvme") == s3Sum)
        #expect(request.header("x-amz-sdk-checksum-algorithm") == "CRC64NVME")
        #expect(request.header("content-type") == "application/octet-stream")
        #expect(request.header("cache-control") == "no-cache")
        #expect(request.header("x-amz-meta-mode") == "33188")
        #expect(request.header("x-amz-storage-class") == "GLACIER")
        #expect(request.header("if-none-match") == "*")
        #expect(request.header("authorization")?.contains("x-amz-checksum-crc64nvme") == true)
        #expect(
            record
                == ObjectRecord(
                    sizeBytes: 5, modified: Timestamp(seconds: 1_600_951_233), etag: "\"E\"",
                    storageClass: StorageClass("GLACIER"), attributes: FileAttributes(mode: 0o100644)))
    }

    @Test("an OSS put forbids overwriting, and is compared with the checksum of the reply")
    func putOSS() async throws {
        let right = ScriptedTransport.Step.reply(200, headers: written.merging(["x-oss-hash-crc64ecma": ossSum]) { $1 })
        let draft = ObjectDraft(
            headers: ObjectHeaders(standard: ["content-type": "application/x-directory"]), condition: .isAbsent)
        let request = try await sent(.oss, right) { _ = try await $0.put(key, hello, draft) }
        #expect(request.header("x-oss-forbid-overwrite") == "true")
        #expect(request.header("x-oss-content-sha256") == "UNSIGNED-PAYLOAD")
        #expect(request.header("content-type") == "application/x-directory")
        #expect(request.headers.count { $0.name == "content-type" } == 1)
        #expect(request.header("content-md5") == nil)
        let wrong = ScriptedTransport.Step.reply(200, headers: written.merging(["x-oss-hash-crc64ecma": "1"]) { $1 })
        _ = try await sent(.oss, wrong) { store in
            let error = await #expect(throws: StoreError.self) { try await store.put(key, hello, draft) }
            #expect(error?.kind == .corrupted)
        }
    }

    @Test("a condition that OSS cannot check is not sent, and the store says so")
    func conditions() async throws {
        let draft = ObjectDraft(condition: .matches(etag: "\"E\""))
        let oss = try await sent(.oss) { _ = try await $0.put(key, hello, draft) }
        #expect(oss.header("if-match") == nil)
        let s3 = try await sent(.s3) { _ = try await $0.put(key, hello, draft) }
        #expect(s3.header("if-match") == "\"E\"")
        let delete = try await sent(.s3, .reply(204)) {
            try await $0.delete(key, version: "v", condition: draft.condition)
        }
        #expect(delete.header("if-match") == "\"E\"")
        #expect(delete.target.query == "versionId=v")
        for dialect in Dialect.allCases where dialect != .oas {
            let store = store(try configuration(dialect), ScriptedTransport([]))
            #expect(store.checks(draft.condition) == dialect.speaksS3)
            #expect(store.checks(.isAbsent))
        }
    }

    @Test(
        "what no header can carry is refused before it is sent",
        arguments: [
            ObjectHeaders(metadata: ["a": "é"]), ObjectHeaders(metadata: ["a": "x\r\ny: z"]),
            ObjectHeaders(metadata: ["A": "x"]), ObjectHeaders(metadata: ["": "x"]),
            ObjectHeaders(standard: ["x-amz-acl": "public-read"]), ObjectHeaders(standard: ["content-type": "\u{7F}"]),
        ]
    )
    func unsendable(_ headers: ObjectHeaders) async throws {
        let transport = ScriptedTransport([])
        let store = store(try configuration(), transport)
        let error = await #expect(throws: StoreError.self) {
            try await store.put(key, hello, ObjectDraft(headers: headers))
        }
        #expect(error?.kind == .invalidRequest)
        #expect(transport.requests.isEmpty)
    }

    @Test("a copy names its source as the dialect wants it, and replaces headers when it is given some")
    func copy() async throws {
        let body = "<CopyObjectResult><ETag>&quot;F&quot;</ETag><LastModified>2023-02-24T09:41:56.000Z</LastModified>"
            + "</CopyObjectResult>"
        let known = ObjectRecord(
            sizeBytes: 9, modified: instant, etag: "\"E\"", storageClass: StorageClass("IA"),
            attributes: FileAttributes(uid: 1))
        let source = CopySource(key: ObjectKey("dir/é+"), version: "v/1", etag: "\"E\"", record: known)
        for (dialect, prefix) in [(Dialect.oss, "x-oss-"), (.s3, "x-amz-")] {
            var record: ObjectRecord?
            let plain = try await sent(dialect, .reply(200, body: body)) {
                record = try await $0.copy(source, to: key, nil)
            }
            #expect(plain.header(prefix + "copy-source") == "/bkt/dir/%C3%A9%2B?versionId=v%2F1")
            #expect(plain.header(prefix + "copy-source-if-match") == "\"E\"")
            #expect(plain.header(prefix + "metadata-directive") == "COPY")
            #expect(plain.header(prefix + "storage-class") == "IA")
            #expect(plain.header("content-type") == nil)
            #expect(record?.etag == "\"F\"")
            #expect(record?.sizeBytes == 9)
            #expect(record?.modified == WireDate.parseISO8601("2023-02-24T09:41:56.000Z"))
            #expect(record?.attributes == FileAttributes(uid: 1))

            let draft = ObjectDraft(
                headers: ObjectHeaders(metadata: ["uid": "2"]), storageClass: StorageClass("Archive"),
                condition: .isAbsent)
            let replacing = try await sent(dialect, .reply(200, body: body)) {
                record = try await $0.copy(source, to: key, draft)
            }
            #expect(replacing.header(prefix + "metadata-directive") == "REPLACE")
            #expect(replacing.header(prefix + "meta-uid") == "2")
            #expect(replacing.header(prefix + "storage-class") == "Archive")
            #expect(record?.attributes == FileAttributes(uid: 2))
            #expect(record?.storageClass == StorageClass("Archive"))
        }
    }

    @Test("many are deleted in one request, and what was not is told")
    func deleteMany() async throws {
        let body = "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code><Message>Object Lock</Message></Error>"
            + "<Error><Key>c</Key><Code>InternalError</Code><Message>x</Message></Error></DeleteResult>"
        let request = try await sent(.s3, .reply(200, body: body)) { store in
            let failures = try await store.delete([ObjectKey("a&"), ObjectKey("b"), ObjectKey("c")])
            #expect(failures.map(\.key) == [ObjectKey("b"), ObjectKey("c")])
            #expect(failures.map(\.error.kind) == [.protected, .unavailable])
        }
        #expect(request.target.query == "delete")
        #expect(request.text.contains("<Quiet>true</Quiet><Object><Key>a&amp;</Key></Object><Object><Key>b</Key>"))
        #expect(request.header("content-md5") == Digest.md5Base64(request.document))
        let oss = try await sent(
            .oss,
            .reply(
                200,
                body: "<DeleteResult><EncodingType>url</EncodingType><Error><Key>b%20c</Key><Code>FileImmutable</Code>"
                    + "</Error></DeleteResult>")
        ) { store in
            let failures = try await store.delete([ObjectKey("b c")])
            #expect(failures.map(\.key) == [ObjectKey("b c")])
            #expect(failures.map(\.error.kind) == [.protected])
        }
        #expect(oss.target.query == "delete&encoding-type=url")
    }

    @Test("a deletion of many that is answered with anything but its result has deleted nothing that is known")
    func deleteManyFails() async throws {
        for dialect in Dialect.allCases where dialect != .oas {
            for (body, kind) in [
                (errorBody("InternalError"), StoreError.Kind.unavailable), (errorBody("AccessDenied"), .denied),
                ("<html></html>", .nonsense),
            ] {
                _ = try await sent(dialect, .reply(200, body: body)) { store in
                    let error = await #expect(throws: StoreError.self) { try await store.delete([ObjectKey("k")]) }
                    #expect(error?.kind == kind)
                }
            }
        }
        // Only OSS says nothing when all went well.
        _ = try await sent(.oss, .reply(200)) { store in
            let failures = try await store.delete([ObjectKey("k")])
            #expect(failures.isEmpty)
        }
        _ = try await sent(.s3, .reply(200)) { store in
            let error = await #expect(throws: StoreError.self) { try await store.delete([ObjectKey("k")]) }
            #expect(error?.kind == .nonsense)
        }
    }

    @Test("keys that XML cannot carry are deleted one by one")
    func deleteUnfriendly() async throws {
        let transport = ScriptedTransport([.reply(200), .reply(204), .reply(403, body: errorBody("AccessDenied"))])
        let odd = [ObjectKey("a\nb"), ObjectKey([0xFF])]
        let failures = try await store(try configuration(.oss), transport).delete([ObjectKey("k")] + odd)
        #expect(transport.requests.map(\.method) == [.post, .delete, .delete])
        #expect(transport.requests[1].target.path == "/a%0Ab")
        #expect(failures.map(\.key) == [odd[1]])
    }

    @Test("an S3 upload is announced, sent and completed with checksums of the whole object")
    func uploadS3() async throws {
        let transport = ScriptedTransport([
            .reply(200, body: "<InitiateMultipartUploadResult><UploadId>U/1</UploadId></InitiateMultipartUploadResult>"),
            .reply(200, headers: ["etag": "\"1\""]), .reply(200, headers: ["etag": "\"2\""]),
            .reply(200, body: "  <CompleteMultipartUploadResult><ETag>\"W-2\"</ETag></CompleteMultipartUploadResult>"),
        ])
        let store = store(try configuration(), transport)
        let draft = ObjectDraft(headers: ObjectHeaders(metadata: ["mode": "33188"]), condition: .matches(etag: "\"O\""))
        let upload = try await store.beginUpload(key, draft)
        #expect(upload.id == "U/1")
        let first = try await store.uploadPart(upload, number: 1, hello)
        let second = try await store.uploadPart(upload, number: 2, .bytes(Array(" world".utf8)))
        let record = try await store.completeUpload(upload, [first, second], draft)
        #expect(record.etag == "\"W-2\"")
        #expect(record.sizeBytes == 11)
        #expect(record.attributes?.mode == 0o100644)

        let requests = transport.requests
        #expect(requests.map(\.target.query) == [
            "uploads", "partNumber=1&uploadId=U%2F1", "partNumber=2&uploadId=U%2F1", "uploadId=U%2F1",
        ])
        #expect(requests[0].header("x-amz-checksum-algorithm") == "CRC64NVME")
        #expect(requests[0].header("x-amz-checksum-type") == "FULL_OBJECT")
        #expect(requests[0].header("x-amz-meta-mode") == "33188")
        #expect(requests[0].header("if-match") == nil)
        #expect(requests[1].header("x-amz-checksum-crc64nvme") == s3Sum)
        #expect(requests[1].header("content-type") == nil)
        #expect(requests[3].header("if-match") == "\"O\"")
        #expect(requests[3].header("x-amz-meta-mode") == nil)
        let whole = CRC64.base64(CRC64.of("hello world".utf8, .nvme))
        #expect(requests[3].header("x-amz-checksum-crc64nvme") == whole)
        #expect(requests[3].header("x-amz-checksum-type") == "FULL_OBJECT")
        #expect(requests[3].text.contains(
            "<Part><PartNumber>1</PartNumber><ETag>&quot;1&quot;</ETag><ChecksumCRC64NVME>\(s3Sum)</ChecksumCRC64NVME>"))
    }

    @Test("an OSS upload is checked by the checksum of the whole, unless a part's is not known")
    func uploadOSS() async throws {
        let upload = MultipartUpload(key: key, id: "U")
        let known = UploadedPart(number: 1, sizeBytes: 5, etag: "\"1\"", checksum: UInt64(ossSum))
        let copied = UploadedPart(number: 2, sizeBytes: 6, etag: "\"2\"", checksum: nil)
        let reply = ScriptedTransport.Step.reply(
            200, headers: ["x-oss-hash-crc64ecma": "7"],
            body: "<CompleteMultipartUploadResult><ETag>\"W\"</ETag></CompleteMultipartUploadResult>")
        let request = try await sent(.oss, reply) {
            _ = try await $0.completeUpload(upload, [known, copied], ObjectDraft())
        }
        #expect(!request.text.contains("Checksum"))
        _ = try await sent(.oss, reply) { store in
            let error = await #expect(throws: StoreError.self) {
                try await store.completeUpload(upload, [known], ObjectDraft(condition: .isAbsent))
            }
            #expect(error?.kind == .corrupted)
        }
    }

    @Test("a part that is copied names its range and its source")
    func copyPart() async throws {
        let body = "<CopyPartResult><ETag>\"P\"</ETag><ChecksumCRC64NVME>\(s3Sum)</ChecksumCRC64NVME></CopyPartResult>"
        let upload = MultipartUpload(key: key, id: "U")
        var part: UploadedPart?
        let request = try await sent(.s3, .reply(200, body: body)) {
            part = try await $0.copyPart(upload, number: 3, from: CopySource(key: key, etag: "\"E\""), range: 10..<20)
        }
        #expect(request.header("x-amz-copy-source") == "/bkt/a%20b")
        #expect(request.header("x-amz-copy-source-range") == "bytes=10-19")
        #expect(request.header("x-amz-copy-source-if-match") == "\"E\"")
        #expect(part?.sizeBytes == 10)
        #expect(part?.checksum == CRC64.of("hello".utf8, .nvme))
    }

    @Test("a completion that fails after it began with success is no object")
    func failedCompletion() async throws {
        let upload = MultipartUpload(key: key, id: "U")
        _ = try await sent(.s3, .reply(200, body: errorBody("InternalError"))) { store in
            let error = await #expect(throws: StoreError.self) {
                try await store.completeUpload(upload, [], ObjectDraft())
            }
            #expect(error?.kind == .unavailable)
            #expect(error?.requestID == "REQ")
        }
    }

    @Test("a store that does not know the checksum gets Content-MD5 from then on, and the log says so once")
    func withoutChecksums() async throws {
        let refusal = ScriptedTransport.Step.reply(
            400,
            body: "<Error><Code>InvalidRequest</Code><Message>Checksum algorithm provided is unsupported</Message></Error>")
        let transport = ScriptedTransport([
            refusal, .reply(200, headers: written), .reply(200, headers: written),
            .reply(200, body: "<R><UploadId>U</UploadId></R>"),
        ])
        let log = LogLines()
        let store = store(try configuration(), transport, logger: log.logger)
        _ = try await store.put(key, hello, ObjectDraft())
        _ = try await store.put(key, hello, ObjectDraft())
        _ = try await store.beginUpload(key, ObjectDraft())
        #expect(transport.requests.map { $0.header("content-md5") } == [
            nil, "XUFAKrxLKna5cZ2REBfFkg==", "XUFAKrxLKna5cZ2REBfFkg==", nil,
        ])
        #expect(transport.requests.dropFirst().allSatisfy { $0.header("x-amz-checksum-crc64nvme") == nil })
        #expect(transport.requests.last?.header("x-amz-checksum-algorithm") == nil)
        #expect(log.lines.count == 1)
    }

    @Test(
        "refusals of writes",
        arguments: [
            (412, "PreconditionFailed", "x", StoreError.Kind.preconditionFailed),
            (409, "FileAlreadyExists", "x", .preconditionFailed), (409, "ConditionalRequestConflict", "x", .unavailable),
            (409, "OperationAborted", "x", .unavailable), (404, "NoSuchUpload", "x", .noSuchUpload),
            (409, "FileImmutable", "x", .protected), (403, "AccessDenied", "Access Denied", .denied),
            (403, "AccessDenied", "Access Denied because object protected by object lock.", .protected),
            (400, "BadDigest", "x", .corrupted), (400, "InvalidDigest", "x", .corrupted),
            (400, "XAmzContentChecksumMismatch", "x", .corrupted),
            (403, "ObjectNotInActiveTierError", "x", .invalidObjectState), (409, "BucketNotEmpty", "x", .notEmpty),
        ]
    )
    func refusals(_ status: Int, _ code: String, _ message: String, _ kind: StoreError.Kind) async throws {
        let body = "<Error><Code>\(code)</Code><Message>\(message)</Message></Error>"
        _ = try await sent(.s3, .reply(status, body: body)) { store in
            let error = await #expect(throws: StoreError.self) { try await store.put(key, hello, ObjectDraft()) }
            #expect(error?.kind == kind)
        }
    }

    @Test("deleting and aborting what is gone is success")
    func gone() async throws {
        for dialect in Dialect.allCases where dialect != .oas {
            _ = try await sent(dialect, .reply(404, body: errorBody("NoSuchKey"))) {
                try await $0.delete(key, version: nil, condition: .always)
            }
            let abort = try await sent(dialect, .reply(404, body: errorBody("NoSuchUpload"))) {
                try await $0.abortUpload(MultipartUpload(key: key, id: "U"))
            }
            #expect(abort.method == .delete)
            #expect(abort.target.query == "uploadId=U")
        }
    }

    @Test("a description has the headers and the checksum")
    func describe() async throws {
        let headers = [
            "content-length": "5", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"E\"",
            "content-type": "text/plain", "x-amz-meta-mode": "100644", "x-amz-meta-x": "y", "server": "AmazonS3",
            "x-amz-checksum-crc64nvme": s3Sum,
        ]
        let request = try await sent(.s3, .reply(200, headers: headers)) { store in
            let found = try await store.describe(key, version: nil)
            #expect(found.headers == ObjectHeaders(
                metadata: ["mode": "100644", "x": "y"], standard: ["content-type": "text/plain"]))
            #expect(found.record.attributes == FileAttributes(mode: 0o100644))
            #expect(found.checksum == CRC64.of("hello".utf8, .nvme))
        }
        #expect(request.header("x-amz-checksum-mode") == "ENABLED")
    }
}
