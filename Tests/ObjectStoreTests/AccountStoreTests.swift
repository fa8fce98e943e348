import HTTP
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private func account(
    _ dialect: Dialect, _ transport: ScriptedTransport, endpoint: String? = "http://127.0.0.1:9000"
) throws -> AccountStore {
    let configuration = try StoreConfiguration(
        dialect: dialect, bucket: nil, endpoint: endpoint, region: dialect == .oss ? "cn-hangzhou" : "us-west-2")
    return AccountStore(
        configuration, credentials: FixedCredentials(secret), transport: transport, logger: quiet) { instant }
}

private func ossBuckets(_ names: [(String, region: String)], next: String? = nil) -> ScriptedTransport.Step {
    let buckets = names.map { "<Bucket><Location>oss-\($0.region)</Location><Name>\($0.0)</Name></Bucket>" }.joined()
    let marker = next.map { "<IsTruncated>true</IsTruncated><NextMarker>\($0)</NextMarker>" } ?? "<NextMarker/>"
    return .reply(
        200,
        body: "<ListAllMyBucketsResult>\(marker)<Owner><ID>1</ID></Owner><Buckets>\(buckets)</Buckets>"
            + "</ListAllMyBucketsResult>")
}

private func s3Buckets(_ names: [String], next: String? = nil) -> ScriptedTransport.Step {
    let buckets = names.map { "<Bucket><Name>\($0)</Name></Bucket>" }.joined()
    let token = next.map { "<ContinuationToken>\($0)</ContinuationToken>" } ?? ""
    return .reply(200, body: "<ListAllMyBucketsResult><Buckets>\(buckets)</Buckets>\(token)</ListAllMyBucketsResult>")
}

private func listing(_ keys: [String], next: String? = nil) -> ScriptedTransport.Step {
    let objects = keys.map {
        "<Contents><Key>\($0)</Key><LastModified>2024-10-23T05:25:24.000Z</LastModified><ETag>\"e\"</ETag>"
            + "<Size>1</Size></Contents>"
    }
    let end = next.map { "<IsTruncated>true</IsTruncated><NextContinuationToken>\($0)</NextContinuationToken>" } ?? ""
    return .reply(200, body: "<ListBucketResult>\(objects.joined())\(end)</ListBucketResult>")
}

private let headReply = ScriptedTransport.Step.reply(
    200, headers: ["content-length": "1", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"e\""])

@Suite("an account as a store")
struct AccountStoreTests {
    @Test("buckets are listed as prefixes, in the order of their keys, over all pages")
    func buckets() async throws {
        let transport = ScriptedTransport([
            ossBuckets([("a", "cn-hangzhou"), ("a-b", "cn-hangzhou")], next: "a-b"), ossBuckets([("b", "cn-hangzhou")]),
        ])
        let page = try await account(.oss, transport).list(ListRequest(prefix: .empty))
        #expect(page.prefixes == [ObjectKey("a-b/"), ObjectKey("a/"), ObjectKey("b/")])
        #expect(page.continuationToken == nil)
        #expect(transport.requests.map(\.url) == [
            "http://127.0.0.1:9000/?max-keys=1000", "http://127.0.0.1:9000/?max-keys=1000&marker=a-b",
        ])
        #expect(transport.requests[0].header("x-oss-content-sha256") == "UNSIGNED-PAYLOAD")
    }

    @Test("pages of buckets go on where they ended, and a name is looked for by its prefix")
    func pages() async throws {
        let all = s3Buckets(["a", "b", "c"])
        let transport = ScriptedTransport([all, all, s3Buckets(["b", "unasked"])])
        let store = try account(.s3, transport)
        var pages = Listing(store, ListRequest(prefix: .empty, keysMax: 2))
        #expect(try await pages.next()?.prefixes == [ObjectKey("a/"), ObjectKey("b/")])
        #expect(try await pages.next()?.prefixes == [ObjectKey("c/")])
        #expect(try await pages.next() == nil)
        let found = try await store.list(ListRequest(prefix: ObjectKey("b"), keysMax: 3))
        #expect(found.prefixes == [ObjectKey("b/")])
        #expect(transport.requests.last?.url == "http://127.0.0.1:9000/?max-buckets=1000&prefix=b")
    }

    @Test("a bucket's objects come with the bucket before their keys")
    func objects() async throws {
        let transport = ScriptedTransport([
            listing(["d/a", "d/b"], next: "T"), listing([]), .reply(404, body: errorBody("NoSuchBucket")),
        ])
        let store = try account(.s3, transport)
        let page = try await store.list(
            ListRequest(prefix: ObjectKey("bkt/d/"), startAfter: ObjectKey("bkt/d/0"), keysMax: 2))
        #expect(page.objects.map(\.key) == [ObjectKey("bkt/d/a"), ObjectKey("bkt/d/b")])
        #expect(page.continuationToken == "T")
        #expect(transport.requests[0].target.path == "/bkt")
        #expect(transport.requests[0].target.query.hasSuffix("max-keys=2&prefix=d%2F&delimiter=%2F&start-after=d%2F0"))
        _ = try await store.list(ListRequest(prefix: ObjectKey("bkt/d/"), continuationToken: "T"))
        #expect(transport.requests[1].target.query.hasSuffix("continuation-token=T"))
        #expect(try await store.list(ListRequest(prefix: ObjectKey("none/"))).objects.isEmpty)
    }

    @Test("a bucket that goes while everything is listed hides nothing of the next one")
    func vanished() async throws {
        let transport = ScriptedTransport([s3Buckets(["a", "c"]), listing(["1"])])
        let request = ListRequest(prefix: .empty, delimiter: nil, continuationToken: "b/T")
        #expect(try await account(.s3, transport).list(request).objects.map(\.key) == [ObjectKey("c/1")])
        #expect(!transport.requests[1].target.query.contains("continuation-token"))
    }

    @Test("everything is listed bucket by bucket")
    func everything() async throws {
        let all = s3Buckets(["a", "b"])
        let transport = ScriptedTransport([all, listing(["1"], next: "T/1"), all, listing(["2"]), all, listing(["1"])])
        var pages = Listing(try account(.s3, transport), ListRequest(prefix: .empty, delimiter: nil))
        var keys: [ObjectKey] = []
        while let page = try await pages.next() { keys += page.objects.map(\.key) }
        #expect(keys == [ObjectKey("a/1"), ObjectKey("a/2"), ObjectKey("b/1")])
        #expect(transport.requests[3].target.query.hasSuffix("continuation-token=T%2F1"))
        #expect(transport.requests[5].target.path == "/b")
    }

    @Test("a bucket's requests go to its own region, and to an endpoint of the user's wherever it is")
    func regions() async throws {
        let buckets = ossBuckets([("far", "cn-beijing"), ("near", "cn-hangzhou")])
        let transport = ScriptedTransport([buckets, headReply, buckets])
        let store = try account(.oss, transport, endpoint: nil)
        _ = try await store.head(ObjectKey("far/k"), version: nil)
        // What the first listing told is known.
        _ = try await store.list(ListRequest(prefix: .empty))
        #expect(transport.requests.map(\.url) == [
            "https://oss-cn-hangzhou.aliyuncs.com/?max-keys=1000&prefix=far",
            "https://far.oss-cn-beijing.aliyuncs.com/k", "https://oss-cn-hangzhou.aliyuncs.com/?max-keys=1000",
        ])
        #expect(transport.requests[1].header("authorization")?.contains("/cn-beijing/oss/") == true)
        let own = ScriptedTransport([buckets, headReply])
        let fixed = try account(.oss, own)
        _ = try await fixed.list(ListRequest(prefix: .empty))
        _ = try await fixed.head(ObjectKey("far/k"), version: nil)
        #expect(own.requests.last?.url == "http://127.0.0.1:9000/far/k")
    }

    @Test("who may not list buckets can still be in one")
    func unlisted() async throws {
        let transport = ScriptedTransport([.reply(403, body: errorBody("AccessDenied")), headReply])
        _ = try await account(.oss, transport, endpoint: nil).head(ObjectKey("bkt/k"), version: nil)
        #expect(transport.requests.last?.url == "https://bkt.oss-cn-hangzhou.aliyuncs.com/k")
    }

    @Test("the marker of a bucket is the bucket: put creates it, delete deletes it, and nobody reads it")
    func markers() async throws {
        let transport = ScriptedTransport([
            .reply(200), .reply(204), .reply(409, body: errorBody("BucketNotEmpty")),
            .reply(404, body: errorBody("NoSuchBucket")),
        ])
        let store = try account(.oss, transport)
        let key = ObjectKey("new/")
        let draft = ObjectDraft(storageClass: StorageClass("IA"), condition: .isAbsent)
        _ = try await store.put(key, .bytes([]), draft)
        // It is there: nothing is sent to have it stay.
        _ = try await store.put(key, .bytes([]), ObjectDraft())
        #expect(transport.requests.map(\.method) == [.put])
        #expect(transport.requests[0].url == "http://127.0.0.1:9000/new/")
        #expect(
            transport.requests[0].text
                == "<CreateBucketConfiguration><StorageClass>IA</StorageClass></CreateBucketConfiguration>")
        for asked in [key, ObjectKey("new")] {
            let error = await #expect(throws: StoreError.self) { try await store.describe(asked, version: nil) }
            #expect(error?.kind == .noSuchKey)
        }
        try await store.delete(key, version: nil, condition: .always)
        let error = await #expect(throws: StoreError.self) {
            try await store.delete(key, version: nil, condition: .always)
        }
        #expect(error?.kind == .notEmpty)
        try await store.delete(key, version: nil, condition: .always)
        #expect(transport.requests.count == 4)
    }

    @Test("a bucket of S3 is created in the account's region; one that is there is refused, if it must not be")
    func createS3() async throws {
        let transport = ScriptedTransport([
            .reply(200), .reply(409, body: errorBody("BucketAlreadyExists")),
            .reply(409, body: errorBody("BucketAlreadyOwnedByYou")),
        ])
        let store = try account(.s3, transport, endpoint: nil)
        _ = try await store.put(ObjectKey("a-1/"), .bytes([]), ObjectDraft(condition: .isAbsent))
        #expect(transport.requests[0].url == "https://a-1.s3.us-west-2.amazonaws.com/")
        #expect(transport.requests[0].text.contains("<LocationConstraint>us-west-2</LocationConstraint>"))
        let error = await #expect(throws: StoreError.self) {
            try await store.put(ObjectKey("b-1/"), .bytes([]), ObjectDraft(condition: .isAbsent))
        }
        #expect(error?.kind == .preconditionFailed)
        _ = try await store.put(ObjectKey("c-1/"), .bytes([]), ObjectDraft())
    }

    @Test("a bucket that is ours is there already only if no reply was lost before")
    func createAgain() async throws {
        let refusal = ScriptedTransport.Step.reply(409, body: errorBody("BucketAlreadyOwnedByYou"))
        let transport = ScriptedTransport([.failure(.broken("x")), refusal, .failure(.connect("x")), refusal])
        let store = RetryingStore(try account(.s3, transport), logger: quiet) { _ in }
        let draft = ObjectDraft(condition: .isAbsent)
        _ = try await store.put(ObjectKey("new/"), .bytes([]), draft)
        let error = await #expect(throws: StoreError.self) {
            try await store.put(ObjectKey("old/"), .bytes([]), draft)
        }
        #expect(error?.kind == .preconditionFailed)
        #expect(transport.requests.map(\.method) == [.put, .put, .put, .put])
    }

    @Test("files beside buckets, and what is no bucket's name, are refused before anything is sent")
    func root() async throws {
        let transport = ScriptedTransport([])
        let store = try account(.s3, transport)
        for (key, body) in [("file", "x"), ("file", ""), ("bkt/", "x")] {
            let error = await #expect(throws: StoreError.self) {
                try await store.put(ObjectKey(key), .bytes(Array(body.utf8)), ObjectDraft())
            }
            #expect(error?.kind == .unsupported)
        }
        let error = await #expect(throws: StoreError.self) { try await store.head(ObjectKey("a b/k"), version: nil) }
        #expect(error?.kind == .noSuchBucket)
        #expect(transport.requests.isEmpty)
    }

    @Test("copies and parts go from bucket to bucket within the store")
    func copies() async throws {
        let copied = "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>"
        let transport = ScriptedTransport([
            .reply(200, body: copied), headReply, .reply(200, body: "<R><UploadId>U</UploadId></R>"),
            .reply(200, body: copied), .reply(200, body: copied), .reply(204),
        ])
        let store = try account(.s3, transport)
        _ = try await store.copy(CopySource(key: ObjectKey("a/x y")), to: ObjectKey("b/z"), nil)
        #expect(transport.requests[0].target.path == "/b/z")
        #expect(transport.requests[0].header("x-amz-copy-source") == "/a/x%20y")
        let upload = try await store.beginUpload(ObjectKey("b/m"), ObjectDraft())
        #expect(upload == MultipartUpload(key: ObjectKey("b/m"), id: "U"))
        let part = try await store.copyPart(upload, number: 1, from: CopySource(key: ObjectKey("a/x")), range: 0..<1)
        #expect(transport.requests[3].header("x-amz-copy-source") == "/a/x")
        _ = try await store.completeUpload(upload, [part], ObjectDraft())
        try await store.abortUpload(upload)
        #expect(transport.requests.dropFirst(2).allSatisfy { $0.target.path == "/b/m" })
    }

    @Test("what the store does not copy is left to be copied by its reader")
    func elsewhere() async throws {
        let regions = ossBuckets([("far", "cn-beijing"), ("near", "cn-hangzhou")])
        let transport = ScriptedTransport([regions, ossBuckets([]), .reply(404, body: errorBody("NoSuchBucket"))])
        let store = try account(.oss, transport, endpoint: nil)
        _ = try await store.list(ListRequest(prefix: .empty))
        for (source, target) in [("far/k", "near/k"), ("far/k", "near/"), ("near/k", "none/k")] {
            let error = await #expect(throws: StoreError.self) {
                try await store.copy(CopySource(key: ObjectKey(source)), to: ObjectKey(target), nil)
            }
            #expect(error?.kind == .elsewhere)
        }
        #expect(transport.requests.count == 3)
    }

    @Test("many objects are deleted bucket by bucket, and failures keep their keys")
    func deleteMany() async throws {
        let failed = "<DeleteResult><Error><Key>y</Key><Code>AccessDenied</Code></Error></DeleteResult>"
        let transport = ScriptedTransport([
            .reply(200, body: "<DeleteResult/>"), .reply(200, body: failed), .reply(204),
        ])
        let store = try account(.s3, transport)
        let failures = try await store.delete(["b/y", "a/x", "a/z", "c/"].map { ObjectKey($0) })
        #expect(failures.map(\.key) == [ObjectKey("b/y")])
        #expect(transport.requests.map(\.target.path) == ["/a", "/b", "/c"])
        #expect(transport.requests.map(\.method) == [.post, .post, .delete])
    }

    @Test("versions are listed in their bucket, and buckets where there are no versions")
    func versions() async throws {
        let body = "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>d/k</NextKeyMarker>"
            + "<NextVersionIdMarker>v</NextVersionIdMarker><DeleteMarker><Key>d/k</Key><VersionId>v</VersionId>"
            + "<IsLatest>true</IsLatest></DeleteMarker></ListVersionsResult>"
        let transport = ScriptedTransport([.reply(200, body: body), .reply(200, body: body), s3Buckets(["a", "b"])])
        let store = try account(.s3, transport)
        let page = try await store.listVersions(VersionListRequest(prefix: ObjectKey("bkt/d/")))
        #expect(page.versions.map(\.key) == [ObjectKey("bkt/d/k")])
        #expect(page.next == VersionMarker(key: ObjectKey("bkt/d/k"), versionID: "v"))
        _ = try await store.listVersions(VersionListRequest(prefix: ObjectKey("bkt/d/"), after: page.next))
        #expect(transport.requests[1].target.query.hasSuffix("key-marker=d%2Fk&version-id-marker=v"))
        let buckets = try await store.listVersions(VersionListRequest(prefix: .empty))
        #expect(buckets.prefixes == [ObjectKey("a/"), ObjectKey("b/")])
        #expect(buckets.next == nil)
    }
}
