import HTTP
import Synchronization
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let given = #"{"access_token":"T1","expires_in":3600,"expiration":1,"token_type":"Bearer"}"#
private let bearer = Credentials(
    BearerToken("T0", expires: instant + .seconds(60), serviceInstanceID: "crn:instance"))

private func cos(bucket: String? = "bkt", endpoint: String? = nil) throws -> StoreConfiguration {
    try StoreConfiguration(dialect: .cos, bucket: bucket, endpoint: endpoint, region: "us-south")
}

private func ibm(
    _ transport: ScriptedTransport, credentials: any CredentialsProvider = FixedCredentials(bearer)
) throws -> BucketStore {
    store(try cos(), transport, credentials: credentials)
}

private func iam(_ steps: [ScriptedTransport.Step]) -> (IAM, ScriptedTransport) {
    let transport = ScriptedTransport(steps)
    return (IAM(transport: transport, clock: { instant }), transport)
}

private func account(endpoint: String? = nil) throws -> IAM.Account {
    try #require(IAM.Account(apiKey: "a key/+", serviceInstanceID: "crn:instance", endpoint: endpoint))
}

@Suite("IBM COS: where it is")
struct IBMEndpointTests {
    @Test(
        "the endpoint follows from the region, and from the network it is reached by",
        arguments: [
            (nil, "s3.us-south.cloud-object-storage.appdomain.cloud"),
            ("private", "s3.private.us-south.cloud-object-storage.appdomain.cloud"),
            ("direct", "s3.direct.us-south.cloud-object-storage.appdomain.cloud"),
        ])
    func derived(endpoint: String?, host: String) throws {
        let configuration = try cos(endpoint: endpoint)
        #expect(configuration.endpoint == Endpoint(scheme: .https, host: host))
        #expect(configuration.region == "us-south")
        #expect(configuration.signedRegion == "us-standard")
    }

    @Test(
        "the region follows from the host",
        arguments: ["s3.eu-de", "s3.private.eu-de", "https://s3.direct.eu-de"])
    func told(start: String) throws {
        let configuration = try StoreConfiguration(
            dialect: .cos, bucket: "bkt", endpoint: start + ".cloud-object-storage.appdomain.cloud")
        #expect(configuration.region == "eu-de")
    }

    @Test("a bucket elsewhere is asked at its own place, by the same network")
    func moved() throws {
        let account = try cos(bucket: nil, endpoint: "private")
        let host = try account.of("bkt", region: "jp-tok").endpoint.host
        #expect(host == "s3.private.jp-tok.cloud-object-storage.appdomain.cloud")
        let own = try cos(bucket: nil, endpoint: "http://127.0.0.1:9000")
        #expect(try own.of("bkt", region: "jp-tok").endpoint == own.endpoint)
    }

    @Test("without a place there is no endpoint")
    func missing() {
        #expect(throws: ConfigurationError.missingLocation) {
            try StoreConfiguration(dialect: .cos, bucket: "bkt", environment: ["AWS_REGION": "us-east-1"])
        }
    }

    @Test("a place is told with the class of its buckets", arguments: ["standard", "onerate_active", "smart"])
    func location(storageClass: String) {
        #expect(StoreConfiguration.location("us-south-\(storageClass)") == "us-south")
        #expect(StoreConfiguration.location("us-south") == "us-south")
    }
}

@Suite("IBM COS: tokens")
struct IAMTests {
    @Test("an API key is exchanged as IBM documents it, and its token renewed when a quarter of its life is left")
    func exchanged() async throws {
        let (iam, transport) = iam([.reply(200, body: given)])
        let lease = try await iam.lease(try account())
        #expect(lease.credentials.bearer == BearerToken("T1", expires: instant + .seconds(3600), serviceInstanceID: "crn:instance"))
        #expect(lease.expires == instant + .seconds(3600))
        #expect(lease.margin == .seconds(900))
        let request = try #require(transport.requests.first)
        #expect(request.url == "https://iam.cloud.ibm.com/identity/token")
        #expect(request.header("content-type") == "application/x-www-form-urlencoded")
        let form = "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&response_type=cloud_iam&apikey="
        #expect(request.text == form + "a%20key%2F%2B")
    }

    @Test("a service that fails is asked three times, one that refuses once, and no message has the key")
    func refused() async throws {
        let (busy, asked) = iam([.reply(503), .failure(.timeout("slow")), .reply(200, body: given)])
        #expect(try await busy.lease(try account()).credentials.bearer?.text == "T1")
        #expect(asked.requests.count == 3)
        let (refusing, once) = iam([
            .reply(400, body: #"{"errorCode":"BXNIM0415E","errorMessage":"no such key","context":{"requestId":"R"}}"#)
        ])
        let error = await #expect(throws: CredentialsError.self) { try await refusing.lease(try account()) }
        #expect(error?.description.contains("BXNIM0415E: no such key (request id R)") ?? false)
        #expect(error?.description.contains("a key") == false)
        #expect(once.requests.count == 1)
    }

    @Test("neither a key nor a token goes over http to another machine")
    func insecure() async throws {
        let (iam, transport) = iam([.reply(200, body: given)])
        await #expect(throws: CredentialsError.self) {
            try await iam.lease(try account(endpoint: "http://10.0.0.1/identity/token"))
        }
        let plain = store(
            try cos(endpoint: "http://10.0.0.1"), transport, credentials: FixedCredentials(bearer))
        let error = await #expect(throws: StoreError.self) { try await plain.head(ObjectKey("k"), version: nil) }
        #expect(error?.code == "InsecureEndpoint")
        #expect(transport.requests.isEmpty)
    }

    @Test("a token is sent as it is, and the instance with what is about no bucket that exists")
    func sent() async throws {
        let buckets = "<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name>"
            + "<LocationConstraint>eu-de-vault</LocationConstraint></Bucket></Buckets></ListAllMyBucketsResult>"
        let transport = ScriptedTransport([.reply(200, body: buckets), .reply(200), .reply(204)])
        let account = store(try cos(bucket: nil), transport, credentials: FixedCredentials(bearer))
        let page = try await account.listBuckets(prefix: [], after: nil)
        #expect(page.buckets == [ListedBucket(name: "b", region: "eu-de", storageClass: "vault")])
        let bucket = try ibm(transport)
        try await bucket.createBucket(BucketDraft())
        try await bucket.deleteBucket()
        #expect(transport.requests.map { $0.header("authorization") } == ["Bearer T0", "Bearer T0", "Bearer T0"])
        #expect(transport.requests.map { $0.header("ibm-service-instance-id") } == ["crn:instance", "crn:instance", nil])
        #expect(transport.requests[0].target.query == "max-keys=1000&extended")
        #expect("\(bearer)".contains("T0") == false)
    }

    @Test("an expired token is renewed once when access is denied; one that has not is believed")
    func stale() async throws {
        let expired = Credentials(BearerToken("OLD", expires: instant))
        let transport = ScriptedTransport([.reply(403), .reply(403), .reply(403), .reply(401), .reply(403)])
        let other = Credentials(BearerToken("T9", expires: instant + .seconds(9)))
        let provider = Renewing([expired, bearer, bearer, bearer, other])
        let bucket = try ibm(transport, credentials: provider)
        await #expect(throws: StoreError.self) { try await bucket.head(ObjectKey("k"), version: nil) }
        #expect(transport.requests.map { $0.header("authorization") } == ["Bearer OLD", "Bearer T0"])
        await #expect(throws: StoreError.self) { try await bucket.head(ObjectKey("k"), version: nil) }
        #expect(transport.requests.count == 3)
        await #expect(throws: StoreError.self) { try await bucket.head(ObjectKey("k"), version: nil) }
        #expect(transport.requests.last?.header("authorization") == "Bearer T9")
    }
}

/// Gives one after the other.
private final class Renewing: CredentialsProvider {
    private let rest: Mutex<[Credentials]>
    init(_ all: [Credentials]) { rest = Mutex(all) }
    func credentials() async throws(CredentialsError) -> Credentials {
        let next = rest.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        guard let next else { throw CredentialsError("no more") }
        return next
    }
    func discard(_ credentials: Credentials) async {}
}

@Suite("IBM COS: where credentials are")
struct IBMCredentialsTests {
    private func found(
        _ files: [String: String], _ environment: [String: String] = [:], profile: String? = nil
    ) async throws -> (Credentials, [HTTPRequest]) {
        let transport = ScriptedTransport([.reply(200, body: given)])
        let credentials = try await withHome(files) { home in
            let chain = CredentialsChain.standard(
                .cos, profile: profile, environment: home.merging(environment) { $1 }, transport: transport,
                clock: { instant })
            return try await chain.credentials()
        }
        return (credentials, transport.requests)
    }

    private static let file =
        #"{"apikey":"KEY","resource_instance_id":"crn:x","endpoints":"https://e"}"#
    private static let hmac =
        #"{"apikey":"KEY","cos_hmac_keys":{"access_key_id":"AK","secret_access_key":"SK"},"resource_instance_id":"crn:x"}"#

    @Test("the environment's API key goes before its HMAC key, and both before files")
    func environment() async throws {
        let keys = ["AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"]
        let token = ["IBM_API_KEY_ID": "KEY", "IBM_SERVICE_INSTANCE_ID": "crn:y", "IBM_AUTH_ENDPOINT": "https://iam/x"]
        let (first, requests) = try await found([:], keys.merging(token) { $1 })
        #expect(first.bearer?.serviceInstanceID == "crn:y")
        #expect(requests.map(\.url) == ["https://iam/x"])
        let (second, none) = try await found([".bluemix/cos_credentials": Self.file], keys)
        #expect(second.accessKeyID == "AK" && none.isEmpty)
    }

    @Test("a service credential's HMAC key goes before its API key")
    func file() async throws {
        let (token, requests) = try await found([".bluemix/cos_credentials": Self.file])
        #expect(token.bearer?.serviceInstanceID == "crn:x")
        #expect(requests.first?.text.hasSuffix("apikey=KEY") ?? false)
        let (key, _) = try await found([".bluemix/cos_credentials": Self.hmac])
        #expect(key == Credentials(accessKeyID: "AK", secretAccessKey: "SK"))
        let (named, _) = try await found(["other": Self.hmac], ["COS_CREDENTIALS_FILE": "~/other"])
        #expect(named.accessKeyID == "AK")
    }

    @Test("a named profile goes before all else")
    func profile() async throws {
        let files = [
            ".bluemix/cos_credentials": Self.hmac,
            ".aws/credentials": "[ibm]\nibm_api_key_id = KEY\nibm_service_instance_id = crn:p\n",
        ]
        let (token, _) = try await found(files, ["IBM_API_KEY_ID": "other"], profile: "ibm")
        #expect(token.bearer?.serviceInstanceID == "crn:p")
    }
}

@Suite("IBM COS: objects")
struct IBMObjectTests {
    private static let head = [
        "content-length": "7", "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"e\"",
    ]

    @Test("listings tell nothing of archives, a HEAD all")
    func unlisted() async throws {
        let listing = """
            <ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key>\
            <LastModified>2020-09-24T12:40:33.000Z</LastModified><ETag>"e"</ETag><Size>7</Size>\
            <StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>
            """
        let archived = Self.head.merging(["x-amz-storage-class": "GLACIER"]) { $1 }
        let transport = ScriptedTransport([
            .reply(200, body: listing), .reply(200, headers: archived), .reply(200, headers: Self.head),
        ])
        let bucket = try ibm(transport)
        let listed = try await bucket.list(ListRequest(prefix: .empty)).objects
        #expect(listed.map(\.record.mayBeArchivedUnseen) == [true])
        #expect(transport.requests[0].header("x-amz-optional-object-attributes") == nil)
        for storageClass in ["GLACIER", "STANDARD"] {
            let record = try await bucket.head(ObjectKey("k"), version: nil)
            #expect(record.storageClass.name == storageClass && !record.mayBeArchivedUnseen)
        }
    }

    @Test("a class is named to nobody who takes none")
    func classless() async throws {
        let copied = "<CopyObjectResult><ETag>\"f\"</ETag></CopyObjectResult>"
        let transport = ScriptedTransport([.reply(200, headers: ["etag": "\"e\""]), .reply(200, body: copied)])
        let bucket = try ibm(transport)
        let draft = ObjectDraft(storageClass: StorageClass("GLACIER"))
        let stored = try await bucket.put(ObjectKey("k"), .bytes([1]), draft)
        var source = CopySource(key: ObjectKey("k"))
        source.record = stored
        source.record?.storageClass = StorageClass("GLACIER")
        let copy = try await bucket.copy(source, to: ObjectKey("l"), nil)
        #expect(transport.requests.allSatisfy { $0.header("x-amz-storage-class") == nil })
        #expect(stored.storageClass.name == "STANDARD" && copy.storageClass.name == "STANDARD")
        #expect(transport.requests[0].header("x-amz-checksum-crc64nvme") != nil)
    }

    @Test("a restore has its integrity header, names no tier but one that was wished for, and any 409 is looked into")
    func restored() async throws {
        let ongoing = Self.head.merging(["x-amz-restore": "ongoing-request=\"true\""]) { $1 }
        let transport = ScriptedTransport([
            .reply(202), .reply(409, body: errorBody("OperationAborted")), .reply(200, headers: ongoing),
            .reply(409, body: errorBody("OperationAborted")), .reply(200, headers: Self.head),
        ])
        let bucket = try ibm(transport)
        let rules = try #require(StorageClass("ACCELERATED").archiveRules(.cos))
        #expect(rules.longest(nil) == .seconds(7200) && rules.longest(.standard) == nil)
        let order = RestoreOrder(days: 3, tier: nil)
        #expect(try await bucket.restore(ObjectKey("k"), version: nil, order) == .started)
        let request = transport.requests[0]
        #expect(request.text.contains("<Days>3</Days>") && !request.text.contains("Tier"))
        #expect(request.header("content-md5") == Digest.md5Base64(request.document))
        #expect(try await bucket.restore(ObjectKey("k"), version: nil, order) == .alreadyInProgress)
        let error = await #expect(throws: StoreError.self) {
            try await bucket.restore(ObjectKey("k"), version: nil, order)
        }
        #expect(error?.isTransient ?? false)
    }

    @Test("what retention forbids is told from what we may not do")
    func protected() async throws {
        let denied = ScriptedTransport.Step.reply(403, body: errorBody("AccessDenied"))
        let kept = Self.head.merging([
            "retention-period": "86400", "retention-expiration-date": "Sat, 03 Jan 2026 03:04:05 GMT",
            "retention-legal-hold-count": "2",
        ]) { $1 }
        let ended = Self.head.merging([
            "retention-expiration-date": "20200103T030405Z", "retention-legal-hold-count": "0",
        ]) { $1 }
        let unlimited = Self.head.merging(["retention-period": "-1"]) { $1 }
        let transport = ScriptedTransport([
            denied, .reply(200, headers: kept), denied, .reply(200, headers: ended), denied,
            .reply(200, headers: unlimited), denied, .reply(403),
        ])
        let bucket = try ibm(transport)
        var kinds: [StoreError.Kind] = []
        for _ in 0..<4 {
            let error = await #expect(throws: StoreError.self) {
                try await bucket.delete(ObjectKey("k"), version: nil, condition: .always)
            }
            if let error { kinds.append(error.kind) }
            if kinds.count == 1 {
                #expect(error?.message.hasSuffix("retention 2026-01-03T03:04:05.000Z, legal holds 2.") ?? false)
            }
        }
        #expect(kinds == [.protected, .denied, .protected, .denied])
    }
}
