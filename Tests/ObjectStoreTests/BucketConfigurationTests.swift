import HTTP
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let cors =
    "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"
    + "</CORSConfiguration>"

@Suite("configurations of a bucket")
struct BucketConfigurationRequestTests {
    @Test("a document is got, put with its digest, and deleted, by its subresource", arguments: [Dialect.oss, .s3, .cos])
    func requests(_ dialect: Dialect) async throws {
        let transport = ScriptedTransport([.reply(200, body: cors), .reply(200), .reply(204)])
        let bucket = store(try configuration(dialect, endpoint: "http://127.0.0.1:9000"), transport)
        let name = BucketConfiguration(.cors)
        #expect(try await bucket.configuration(name) == Array(cors.utf8))
        try await bucket.setConfiguration(name, Array(cors.utf8))
        try await bucket.deleteConfiguration(name)
        #expect(transport.requests.map(\.method) == [.get, .put, .delete])
        #expect(transport.requests.allSatisfy { $0.target.query == "cors" })
        #expect(transport.requests[1].text == cors)
        #expect(transport.requests[1].header("content-md5") == Digest.md5Base64(Array(cors.utf8)))
    }

    @Test("what breaks a rule is not sent, and says what is wrong")
    func refused() async throws {
        let transport = ScriptedTransport([])
        let bucket = store(try configuration(), transport)
        let error = await #expect(throws: StoreError.self) {
            try await bucket.setConfiguration(BucketConfiguration(.cors), Array("<CORSConfiguration/>".utf8))
        }
        #expect(error?.kind == .invalidRequest)
        #expect(error?.message == "cors: it has no <CORSRule>")
        #expect(transport.requests.isEmpty)
    }

    @Test("what the provider does not offer is not sent, and says so")
    func unoffered() async throws {
        let transport = ScriptedTransport([])
        let bucket = store(try configuration(), transport)
        let error = await #expect(throws: StoreError.self) {
            try await bucket.configuration(BucketConfiguration(.protection))
        }
        #expect(error?.kind == .unsupported)
        #expect(error?.message == "protection is not offered by Amazon S3")
        await #expect(throws: StoreError.self) { try await bucket.deleteConfiguration(BucketConfiguration(.location)) }
        #expect(transport.requests.isEmpty)
    }

    @Test("a bucket without one is told from a bucket that is not there")
    func missing() async throws {
        let transport = ScriptedTransport([
            .reply(404, body: errorBody("NoSuchLifecycleConfiguration")), .reply(404, body: errorBody("NoSuchBucket")),
            .reply(403, body: errorBody("AccessDenied")),
        ])
        let bucket = store(try configuration(), transport)
        for kind in [StoreError.Kind.noSuchConfiguration, .noSuchBucket, .denied] {
            let error = await #expect(throws: StoreError.self) {
                try await bucket.configuration(BucketConfiguration(.lifecycle))
            }
            #expect(error?.kind == kind)
        }
    }

    @Test("a list of several pages is one document of all their entries")
    func pages() async throws {
        func page(_ root: String, _ fields: String, _ entry: String, _ ids: [String]) -> ScriptedTransport.Step {
            let entries = ids.map { "<\(entry)><Id>\($0)</Id></\(entry)>" }.joined()
            return .reply(200, body: "<?xml version=\"1.0\"?><!-- > -->\n<\(root) xmlns=\"n\">\(fields)\(entries)</\(root)>")
        }
        let list = "ListInventoryConfigurationsResult"
        let token = "<IsTruncated>true</IsTruncated><NextContinuationToken>a b</NextContinuationToken>"
        let markers = """
            <IsTruncated>true</IsTruncated><NextKeyMarker>k&amp;</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>
            """
        let last = "<IsTruncated>false</IsTruncated>"
        let transport = ScriptedTransport([
            page(list, token, "InventoryConfiguration", ["1", "2"]), page(list, last, "InventoryConfiguration", ["3"]),
            page("ListMultipartUploadsResult", markers, "Upload", ["1"]),
            page("ListMultipartUploadsResult", last, "Upload", []),
        ])
        let bucket = store(try configuration(), transport)
        let inventories = try await bucket.configuration(BucketConfiguration(.inventory))
        let start = "<?xml version=\"1.0\"?><!-- > -->\n<\(list) xmlns=\"n\"><InventoryConfiguration>"
        #expect(inventories.starts(with: start.utf8))
        #expect(try XMLElement(document: inventories).children.map { $0["Id"]?.text } == ["1", "2", "3"])
        let uploads = try XMLElement(document: try await bucket.configuration(BucketConfiguration(.uploads)))
        #expect(uploads.name == "ListMultipartUploadsResult" && uploads.children.map(\.name) == ["Upload"])
        #expect(transport.requests.map(\.target.query) == [
            "inventory", "inventory&continuation-token=a%20b", "uploads", "uploads&key-marker=k%26&upload-id-marker=u",
        ])
    }

    @Test("a list that says it goes on, and not where, or in a circle, is an error")
    func endlessPages() async throws {
        let body = "<L><IsTruncated>true</IsTruncated></L>"
        let circle = "<L><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></L>"
        for replies in [[body], [circle, circle]] {
            let transport = ScriptedTransport(replies.map { .reply(200, body: $0) })
            let bucket = store(try configuration(), transport)
            await #expect(throws: StoreError.self) {
                try await bucket.configuration(BucketConfiguration(.inventory))
            }
            #expect(transport.requests.count == replies.count)
        }
    }

    @Test("an inventory goes by the id that its document has", arguments: [(Dialect.s3, "id"), (.oss, "inventoryId")])
    func inventory(_ dialect: Dialect, _ parameter: String) async throws {
        let transport = ScriptedTransport([.reply(200), .reply(204)])
        let bucket = store(try configuration(dialect, endpoint: "http://127.0.0.1:9000"), transport)
        let body = Array("<InventoryConfiguration><Id>weekly</Id></InventoryConfiguration>".utf8)
        try await bucket.setConfiguration(BucketConfiguration(.inventory), body)
        try await bucket.deleteConfiguration(BucketConfiguration(.inventory, id: "weekly"))
        #expect(transport.requests.map(\.target.query) == Array(repeating: "inventory&\(parameter)=weekly", count: 2))
        let error = await #expect(throws: StoreError.self) {
            try await bucket.setConfiguration(BucketConfiguration(.inventory, id: "daily"), body)
        }
        #expect(error?.message == "inventory.daily: <Id> is “weekly”; it must be “daily”, as it is named")
        await #expect(throws: StoreError.self) { try await bucket.deleteConfiguration(BucketConfiguration(.inventory)) }
    }

    @Test("a deletion whose reply was lost is no failure when it is sent again")
    func lostDeletion() async throws {
        let transport = ScriptedTransport([
            .failure(.broken("cut")), .reply(404, body: errorBody("NoSuchConfiguration")),
        ])
        let retrying = RetryingStore(store(try configuration(), transport), logger: quiet, sleep: { _ in })
        try await retrying.deleteConfiguration(BucketConfiguration(.inventory, id: "weekly"))
        #expect(transport.requests.count == 2)
    }

    @Test("uploads are listed page by page, with keys that are encoded")
    func uploads() async throws {
        func page(_ key: String, _ id: String, next: Bool) -> ScriptedTransport.Step {
            let more = next
                ? "<IsTruncated>true</IsTruncated><NextKeyMarker>\(key)</NextKeyMarker>"
                    + "<NextUploadIdMarker>\(id)</NextUploadIdMarker>" : "<IsTruncated>false</IsTruncated>"
            return .reply(
                200,
                body: "<ListMultipartUploadsResult><EncodingType>url</EncodingType>\(more)<Upload><Key>\(key)</Key>"
                    + "<UploadId>\(id)</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>"
                    + "</ListMultipartUploadsResult>")
        }
        let transport = ScriptedTransport([page("a%20b", "1", next: true), page("c", "2", next: false)])
        let account = try StoreConfiguration(
            dialect: .s3, bucket: nil, endpoint: "http://127.0.0.1:9000", region: "us-west-2")
        let buckets = Buckets(account, credentials: FixedCredentials(secret), transport: transport, logger: quiet)
        let uploads = try await buckets.uploads(of: "bkt", prefix: ObjectKey("p/"))
        #expect(uploads.map(\.key) == [ObjectKey("a b"), ObjectKey("c")])
        #expect(uploads.map(\.id) == ["1", "2"])
        #expect(uploads.first?.initiated == instant)
        #expect(transport.requests.map(\.target.query) == [
            "uploads&encoding-type=url&max-uploads=1000&prefix=p%2F",
            "uploads&encoding-type=url&max-uploads=1000&prefix=p%2F&key-marker=a%20b&upload-id-marker=1",
        ])
    }

    @Test("backup policies are at a host of their own, on the network of the endpoint", arguments: [
        (nil, "https://config.cloud-object-storage.cloud.ibm.com"),
        ("private", "https://config.private.cloud-object-storage.cloud.ibm.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ])
    func policies(_ endpoint: String?, _ host: String) async throws {
        let transport = ScriptedTransport([
            .reply(201, body: #"{"policy_id": "1"}"#), .reply(204), .failure(.broken("cut")),
        ])
        let bucket = store(
            try StoreConfiguration(dialect: .cos, bucket: "bkt", endpoint: endpoint, region: "us-south"), transport)
        let policy = Array(
            #"{"policy_name": "p", "initial_retention": {"delete_after_days": 1}, "backup_type": "continuous", "#.utf8)
            + Array(#""target_backup_vault_crn": "crn:v1:x"}"#.utf8)
        let reply = try await bucket.setConfiguration(BucketConfiguration(.backupPolicies), policy)
        #expect(String(decoding: reply, as: UTF8.self) == #"{"policy_id": "1"}"#)
        try await bucket.deleteConfiguration(BucketConfiguration(.backupPolicies, id: "1"))
        #expect(transport.requests.map(\.url) == [
            "\(host)/buckets/bkt/backup_policies", "\(host)/buckets/bkt/backup_policies/1",
        ])
        #expect(transport.requests.map(\.method) == [.post, .delete])
        #expect(transport.requests[0].header("content-type") == "application/json")
        // Without a token it is sent once.
        let retrying = RetryingStore(bucket, logger: quiet, sleep: { _ in })
        await #expect(throws: StoreError.self) {
            try await retrying.setConfiguration(BucketConfiguration(.backupPolicies), policy)
        }
        #expect(transport.requests.count == 3)
    }

    @Test("a bucket of IBM COS is created with its class and its key", arguments: ["vault", "us-south-vault"])
    func ibm(_ storageClass: String) async throws {
        let transport = ScriptedTransport([.reply(200)])
        let account = try StoreConfiguration(
            dialect: .cos, bucket: nil, endpoint: "http://127.0.0.1:9000", region: "us-south")
        let buckets = Buckets(account, credentials: FixedCredentials(secret), transport: transport, logger: quiet)
        try await buckets.create("made", BucketDraft(storageClass: storageClass, rootKey: "crn:v1:key"))
        #expect(transport.requests[0].text.contains("<LocationConstraint>us-south-vault</LocationConstraint>"))
        #expect(transport.requests[0].header("ibm-sse-kp-encryption-algorithm") == "AES256")
        #expect(transport.requests[0].header("ibm-sse-kp-customer-root-key-crn") == "crn:v1:key")
        await #expect(throws: StoreError.self) { try await buckets.create("made", BucketDraft(storageClass: "tepid")) }
        #expect(transport.requests.count == 1)
    }

    @Test("a bucket is created as it is wished for, where the provider can")
    func creation() async throws {
        let transport = ScriptedTransport([.reply(200)])
        let account = try StoreConfiguration(
            dialect: .s3, bucket: nil, endpoint: "http://127.0.0.1:9000", region: "us-west-2")
        let buckets = Buckets(account, credentials: FixedCredentials(secret), transport: transport, logger: quiet)
        try await buckets.create("made", BucketDraft(locksObjects: true))
        #expect(transport.requests[0].header("x-amz-bucket-object-lock-enabled") == "true")
        #expect(transport.requests[0].text.contains("<LocationConstraint>us-west-2</LocationConstraint>"))
        let error = await #expect(throws: StoreError.self) {
            try await buckets.create("made", BucketDraft(storageClass: "GLACIER"))
        }
        #expect(error?.message == "buckets have no storage class at Amazon S3: objects do")
        #expect(transport.requests.count == 1)
    }
}
