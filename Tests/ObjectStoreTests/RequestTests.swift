import HTTP
import Testing
import ThawCore
import Wire

@testable import ObjectStore

private let everyByte = ObjectKey((UInt8.min...UInt8.max).map { $0 })

@Suite("requests as they go on the wire")
struct RequestTests {
    func sent(
        _ key: ObjectKey,
        _ configuration: StoreConfiguration,
        _ ask: HTTPRequest.Method = .get,
        query: [QueryItem] = []
    ) -> HTTPRequest {
        let dialect: any BucketDialect = configuration.dialect == .oss ? OSSDialect() : S3Dialect()
        return dialect.httpRequest(
            StoreRequest(method: ask, key: key, query: query),
            configuration,
            credentials: secret,
            date: instant
        )
    }

    @Test(
        "awkward keys are encoded once and never normalised",
        arguments: [
            ("a//b", "/a//b"), ("../x/./..", "/../x/./.."), ("a b", "/a%20b"), ("a+b", "/a%2Bb"),
            ("100%", "/100%25"),
            ("%2F", "/%252F"), ("中/é", "/%E4%B8%AD/%C3%A9"), ("/lead", "//lead"), ("trail/", "/trail/"),
            ("a?b#c&d=e", "/a%3Fb%23c%26d%3De"), ("~-_.", "/~-_."), ("q\"'<>\\", "/q%22%27%3C%3E%5C"),
        ]
    )
    func awkwardKeys(_ key: String, _ path: String) throws {
        let key = ObjectKey(key)
        #expect(
            sent(key, try configuration(.s3)).url == "https://bkt.s3.us-west-2.amazonaws.com\(path)"
        )
        #expect(
            sent(key, try configuration(.s3, endpoint: "http://127.0.0.1:9000")).url
                == "http://127.0.0.1:9000/bkt\(path)"
        )
        #expect(
            sent(key, try configuration(.oss)).url == "https://bkt.oss-cn-hangzhou.aliyuncs.com\(path)"
        )
    }

    @Test("a key of all 256 bytes is encoded byte by byte")
    func allBytes() throws {
        let path = sent(everyByte, try configuration(.s3)).target.path
        #expect(PercentEncoding.decode(path.dropFirst().utf8) == everyByte.bytes)
        #expect(path.hasPrefix("/%00%01%02"))
        #expect(path.contains("./0123456789%3A"))
        #expect(path.hasSuffix("%FE%FF"))
    }

    @Test("the bucket itself is addressed as each dialect signs it")
    func bucket() throws {
        let query = [QueryItem("list-type", "2"), QueryItem("prefix", bytes: [0xFF, 0x2F, 0x20])]
        #expect(
            sent(.empty, try configuration(.s3, endpoint: "http://localhost:1"), query: query).url
                == "http://localhost:1/bkt?list-type=2&prefix=%FF%2F%20"
        )
        #expect(
            sent(.empty, try configuration(.oss, endpoint: "http://localhost:1"), query: query).url
                == "http://localhost:1/bkt/?list-type=2&prefix=%FF%2F%20"
        )
        #expect(
            sent(.empty, try configuration(.s3), query: query).url
                == "https://bkt.s3.us-west-2.amazonaws.com/?list-type=2&prefix=%FF%2F%20"
        )
    }

    @Test(
        "S3: a server that goes by what it got finds the signature right",
        arguments: ["a//b", "..", "a b+%中", ""]
    )
    func s3Verifies(_ key: String) throws {
        for key in [ObjectKey(key), everyByte] {
            let request = sent(
                key,
                try configuration(.s3, endpoint: "http://127.0.0.1:9000"),
                .post,
                query: [QueryItem("restore"), QueryItem("versionId", "a/b=")]
            )
            let claim = try #require(
                S3SignatureV4.claim(authorization: request.header("authorization") ?? "")
            )
            let seen = SignableRequest(
                method: "POST",
                bucket: nil,
                wirePath: request.target.path,
                query: try #require([QueryItem](wire: request.target.query)),
                headers: request.headers + [("host", "127.0.0.1:9000")]
            )
            #expect(claim.accessKeyID == "AK")
            #expect(
                claim.signedHeaders == ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
            )
            #expect(
                S3SignatureV4.signature(
                    seen,
                    secret: "testsecret",
                    scope: claim.scope,
                    date: "20260102T030405Z",
                    signedHeaders: claim.signedHeaders
                ) == claim.signature
            )
        }
    }

    @Test("OSS: a server that goes by what it got finds the signature right, in both versions")
    func ossVerifies() throws {
        for key in [ObjectKey("a//b"), ObjectKey("a b+%中"), everyByte] {
            for signature in StoreConfiguration.Signature.allCases {
                let request = sent(
                    key,
                    try configuration(.oss, signature: signature),
                    query: [QueryItem("versionId", "v=1")]
                )
                let seen = SignableRequest(
                    method: "GET",
                    bucket: "bkt",
                    key: try #require(PercentEncoding.decode(request.target.path.dropFirst().utf8)),
                    query: try #require([QueryItem](wire: request.target.query)),
                    headers: request.headers
                )
                let authorization = request.header("authorization") ?? ""
                switch signature {
                case .v4:
                    let claim = try #require(OSSSignatureV4.claim(authorization: authorization))
                    let expected = OSSSignatureV4.signature(
                        seen,
                        secret: "testsecret",
                        scope: claim.scope,
                        date: "20260102T030405Z"
                    )
                    #expect(claim.signature == expected)
                    #expect(claim.scope.region == "cn-hangzhou")
                case .v1:
                    let claim = try #require(OSSSignatureV1.claim(authorization: authorization))
                    #expect(claim.signature == OSSSignatureV1.signature(seen, secret: "testsecret"))
                    #expect(request.header("date") == "Fri, 02 Jan 2026 03:04:05 GMT")
                }
                #expect(request.header("x-oss-security-token") == "TOKEN")
            }
        }
    }

    @Test("a ranged read says what it wants, and how")
    func read() async throws {
        for dialect in Dialect.allCases where dialect != .oas {
            let transport = ScriptedTransport([.reply(206, headers: partial(5..<10, of: 100), body: "01234")])
            let sink = Bytes()
            _ = try await store(try configuration(dialect), transport)
                .get(ObjectKey("k"), version: "v1", range: 5..<10, ifMatch: "\"e\"", into: sink)
            let request = try #require(transport.requests.first)
            #expect(request.url.hasSuffix("/k?versionId=v1"))
            #expect(request.header("range") == "bytes=5-9")
            #expect(request.header("if-match") == "\"e\"")
            #expect(request.header("accept-encoding") == "identity")
            #expect(request.header("x-oss-range-behavior") == (dialect == .oss ? "standard" : nil))
            #expect(request.timeout == nil)
            #expect(sink.text == "01234")
        }
    }

    @Test("a listing says what it wants; a token makes the start superfluous")
    func list() async throws {
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        let transport = ScriptedTransport([.reply(200, body: empty), .reply(200, body: empty)])
        let store = store(try configuration(.s3), transport)
        var ask = ListRequest(prefix: ObjectKey("a b/"), startAfter: ObjectKey("a b/c"), keysMax: 10)
        _ = try await store.list(ask)
        ask.continuationToken = "t+/="
        ask.delimiter = nil
        ask.prefix = .empty
        _ = try await store.list(ask)
        #expect(
            transport.requests.map(\.target.query) == [
                "list-type=2&encoding-type=url&max-keys=10&prefix=a%20b%2F&delimiter=%2F&start-after=a%20b%2Fc",
                "list-type=2&encoding-type=url&max-keys=10&continuation-token=t%2B%2F%3D",
            ]
        )
        #expect(transport.requests[0].header("x-amz-optional-object-attributes") == "RestoreStatus")
    }

    @Test("a listing of versions says what it wants, and where the page before ended")
    func listVersions() async throws {
        let empty = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
        for dialect in Dialect.allCases where dialect != .oas {
            let transport = ScriptedTransport([.reply(200, body: empty), .reply(200, body: empty)])
            let store = store(try configuration(dialect), transport)
            var ask = VersionListRequest(prefix: ObjectKey("a b/"), versionsMax: 10)
            _ = try await store.listVersions(ask)
            ask.delimiter = nil
            ask.after = VersionMarker(key: ObjectKey("a b/c+"), versionID: "v/1=")
            _ = try await store.listVersions(ask)
            #expect(
                transport.requests.map(\.target.query) == [
                    "versions&encoding-type=url&max-keys=10&prefix=a%20b%2F&delimiter=%2F",
                    "versions&encoding-type=url&max-keys=10&prefix=a%20b%2F&key-marker=a%20b%2Fc%2B"
                        + "&version-id-marker=v%2F1%3D",
                ])
            let wanted = transport.requests[0].header("x-amz-optional-object-attributes")
            #expect(wanted == (dialect == .s3 ? "RestoreStatus" : nil))
        }
    }

    @Test("refreezing is one request without a body, of the version that is named")
    func refreeze() async throws {
        let transport = ScriptedTransport([.reply(200), .reply(200)])
        let store = store(try configuration(.oss), transport)
        try await store.refreeze(ObjectKey("k"), version: nil)
        try await store.refreeze(ObjectKey("k"), version: "v1")
        #expect(transport.requests.map(\.target.query) == ["cleanRestoredObject", "cleanRestoredObject&versionId=v1"])
        #expect(transport.requests.allSatisfy { $0.method == .post && $0.document.isEmpty })
    }

    @Test("with signature V1 the sub-resources of refreezing and of listing versions are signed")
    func signedSubresources() {
        for (query, resource) in [
            ([QueryItem("cleanRestoredObject"), QueryItem("versionId", "v1")], "/bkt/k?cleanRestoredObject&versionId=v1"),
            ([QueryItem("versions"), QueryItem("key-marker", "a")], "/bkt/k?versions"),
        ] {
            let request = SignableRequest(
                method: "POST", bucket: "bkt", key: Array("k".utf8), wirePath: "/k", query: query,
                headers: [("date", "Thu, 02 Jan 2026 03:04:05 GMT")])
            let text = String(decoding: OSSSignatureV1.stringToSign(request), as: UTF8.self)
            #expect(text == "POST\n\n\nThu, 02 Jan 2026 03:04:05 GMT\n" + resource)
        }
    }

    @Test("a restore is spelled as the dialect wants it")
    func restoreBodies() {
        func text(_ dialect: any BucketDialect, _ days: Int?, _ tier: RestoreTier?) -> String {
            String(decoding: dialect.restoreBody(RestoreOrder(days: days, tier: tier)), as: UTF8.self)
        }
        #expect(text(OSSDialect(), 2, nil) == "<RestoreRequest><Days>2</Days></RestoreRequest>")
        #expect(
            text(OSSDialect(), 2, .standard)
                == "<RestoreRequest><Days>2</Days><JobParameters><Tier>Standard</Tier></JobParameters></RestoreRequest>"
        )
        #expect(
            text(S3Dialect(), 2, .bulk)
                == #"<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>2</Days>"#
                + "<GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>"
        )
        #expect(!text(S3Dialect(), nil, .bulk).contains("Days"))
    }

    @Test("a restore carries its type and its digest")
    func restoreRequest() async throws {
        let transport = ScriptedTransport([.reply(202)])
        let reply = try await store(try configuration(.oss), transport)
            .restore(ObjectKey("k"), version: nil, RestoreOrder(days: 2, tier: nil))
        #expect(reply == .started)
        let request = try #require(transport.requests.first)
        #expect(request.method == .post)
        #expect(request.target.query == "restore")
        #expect(request.header("content-type") == "application/xml")
        #expect(request.header("content-md5") == Digest.md5Base64(request.document))
    }
}
