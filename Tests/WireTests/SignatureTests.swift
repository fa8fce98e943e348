import Testing

@testable import Wire

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("OSS signature version 1")
struct OSSSignatureV1Tests {
    let date = (name: "x-oss-date", value: "Wed, 28 Dec 2022 10:27:41 GMT")

    func put(_ query: [QueryItem]) -> SignableRequest {
        SignableRequest(
            method: "PUT",
            bucket: "examplebucket",
            key: bytes("nelson"),
            query: query,
            headers: [
                ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="), ("content-type", "text/html"), date,
                ("x-oss-meta-magic", "abracadabra"), ("x-oss-meta-author", " alice "), ("host", "h"),
            ]
        )
    }

    @Test("the published object vectors come out")
    func publishedObject() {
        let text = OSSSignatureV1.stringToSign(put([]))
        #expect(
            String(decoding: text, as: UTF8.self)
                == "PUT\neB5eJF1ptWaXm4bijSPyxw==\ntext/html\nWed, 28 Dec 2022 10:27:41 GMT\n"
                + "x-oss-date:Wed, 28 Dec 2022 10:27:41 GMT\nx-oss-meta-author:alice\n"
                + "x-oss-meta-magic:abracadabra\n/examplebucket/nelson"
        )
        #expect(OSSSignatureV1.signature(put([]), secret: "sk") == "kSHKmLxlyEAKtZPkJhG9bZb5k7M=")
        #expect(
            OSSSignatureV1.signature(put([QueryItem("acl")]), secret: "sk") == "/afkugFbmWDQ967j1vr6zygBLQk="
        )
        #expect(
            OSSSignatureV1.authorization(
                put([]),
                credentials: Credentials(accessKeyID: "ak", secretAccessKey: "sk")
            )
                == "OSS ak:kSHKmLxlyEAKtZPkJhG9bZb5k7M="
        )
    }

    @Test("of a bucket's query only sub-resources are signed, in order")
    func publishedBucket() {
        var request = SignableRequest(
            method: "GET",
            bucket: "examplebucket",
            query: [QueryItem("resourceGroup"), QueryItem("non-resousce", "null")],
            headers: [date]
        )
        #expect(OSSSignatureV1.signature(request, secret: "sk") == "vkQmfuUDyi1uDi3bKt67oemssIs=")
        request.query = [QueryItem("resourceGroup"), QueryItem("acl")]
        #expect(OSSSignatureV1.signature(request, secret: "sk") == "x3E5TgOvl/i7PN618s5mEvpJDYk=")
    }

    @Test("a presigned request signs its expiry in the date's place")
    func presigned() throws {
        let query = try #require(
            [QueryItem](
                wire:
                    "OSSAccessKeyId=ak&Expires=1699807420&Signature=dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D&versionId=versionId"
            )
        )
        let claim = try #require(OSSSignatureV1.claim(query: query))
        let request = SignableRequest(method: "GET", bucket: "bucket", key: bytes("key"), query: query)
        #expect(claim.accessKeyID == "ak")
        #expect(OSSSignatureV1.signature(request, secret: "sk", expires: claim.expires) == claim.signature)
    }

    @Test("restore, token and continuation token are signed as documented")
    func more() {
        func sign(
            _ method: String,
            _ bucket: String,
            _ key: String,
            _ query: [QueryItem],
            _ headers: [(name: String, value: String)]
        ) -> String {
            OSSSignatureV1.signature(
                SignableRequest(
                    method: method,
                    bucket: bucket,
                    key: bytes(key),
                    query: query,
                    headers: headers
                ),
                secret: "testsecret"
            )
        }
        #expect(
            sign(
                "POST",
                "oss-archive-example",
                "oss.jpg",
                [QueryItem("restore")],
                [("content-type", "application/xml"), ("date", "Sat, 15 Apr 2017 07:45:28 GMT")]
            )
                == "b4BR2QZhmZzPhkW8YiFgs7AlfaY="
        )
        #expect(
            sign(
                "POST",
                "oss-archive-example",
                "oss.jpg",
                [QueryItem("versionId", "CAEQNRiB"), QueryItem("restore", "")],
                [("date", "Tue, 09 Apr 2019 06:50:48 GMT"), ("x-oss-security-token", "STSTOKEN")]
            )
                == "c1tooW4D8CFL3KcmdX3Xandd7oc="
        )
        #expect(
            sign(
                "GET",
                "bkt",
                "",
                [
                    QueryItem("list-type", "2"), QueryItem("prefix", "a/"),
                    QueryItem("continuation-token", "Cg=="),
                ],
                [("date", "Tue, 09 Apr 2019 06:50:48 GMT")]
            ) == "yb6sJNVYENbBf4XCwgaTHqI8cgc="
        )
    }

    @Test("an Authorization header gives its key and signature")
    func claim() throws {
        let claim = try #require(OSSSignatureV1.claim(authorization: "OSS ak:c2ln"))
        #expect(claim.accessKeyID == "ak")
        #expect(claim.signature == "c2ln")
        #expect(OSSSignatureV1.claim(authorization: "OSS4-HMAC-SHA256 Credential=a") == nil)
    }
}

@Suite("OSS signature version 4")
struct OSSSignatureV4Tests {
    func published(_ date: String, _ more: [(name: String, value: String)] = []) -> SignableRequest {
        SignableRequest(
            method: "PUT",
            bucket: "bucket",
            key: bytes("1234+-/123/1.txt"),
            query: [
                QueryItem("param1", "value1"), QueryItem("+param1", "value3"), QueryItem("|param1", "value4"),
                QueryItem("+param2", ""), QueryItem("|param2", ""), QueryItem("param2", ""),
            ],
            headers: [
                ("x-oss-head1", "value"), ("abc", "value"), ("zabc", "value"), ("xyz", "value"),
                ("content-type", "text/plain"), ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
                ("x-oss-date", date),
            ] + more
        )
    }

    func sign(_ request: SignableRequest, _ date: String, secret: String = "sk", _ additional: [String] = [])
        -> String
    {
        OSSSignatureV4.signature(
            request,
            secret: secret,
            scope: SignatureScope(day: String(date.prefix(8)), region: "cn-hangzhou", service: "oss"),
            date: date,
            additionalHeaders: additional
        )
    }

    @Test("the published canonical request comes out, byte for byte")
    func canonical() {
        let canonical = OSSSignatureV4.canonicalRequest(published("20231216T162057Z"))
        #expect(
            canonical == """
                PUT
                /bucket/1234%2B-/123/1.txt
                %2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2
                content-type:text/plain
                x-oss-content-sha256:UNSIGNED-PAYLOAD
                x-oss-date:20231216T162057Z
                x-oss-head1:value


                UNSIGNED-PAYLOAD
                """
        )
        #expect(
            Digest.sha256Hex(bytes(canonical))
                == "f4613657f1b108998e8dbd10a1aa5da621dc2c6e02c9ddec0f163664848704c4"
        )
    }

    @Test("the published signatures come out: plain, with a token, with additional headers")
    func signatures() {
        #expect(
            sign(published("20231216T162057Z"), "20231216T162057Z")
                == "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"
        )
        #expect(
            sign(published("20231217T034736Z", [("x-oss-security-token", "token")]), "20231217T034736Z")
                == "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"
        )
        // Names that are missing from the request or signed anyway do not count.
        #expect(
            sign(
                published("20231216T172512Z"),
                "20231216T172512Z",
                ["ZAbc", "abc", "content-type", "missing"]
            )
                == "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"
        )
    }

    @Test("the Authorization names its additional headers and can be read back")
    func authorization() throws {
        let text = OSSSignatureV4.authorization(
            published("20231216T172512Z"),
            credentials: Credentials(accessKeyID: "ak", secretAccessKey: "sk"),
            region: "cn-hangzhou",
            date: "20231216T172512Z",
            additionalHeaders: ["zabc", "abc"]
        )
        #expect(
            text == "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,"
                + "AdditionalHeaders=abc;zabc,Signature=4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"
        )
        let claim = try #require(OSSSignatureV4.claim(authorization: text))
        #expect(claim.accessKeyID == "ak")
        #expect(claim.scope == SignatureScope(day: "20231216", region: "cn-hangzhou", service: "oss"))
        #expect(claim.signedHeaders == ["abc", "zabc"])
    }

    @Test("the other SDK's order and blanks are read as well")
    func otherOrder() throws {
        let claim = try #require(
            OSSSignatureV4.claim(
                authorization: "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request, "
                    + "Signature=abcd, AdditionalHeaders=host"
            )
        )
        #expect(claim.signature == "abcd")
        #expect(claim.signedHeaders == ["host"])
        #expect(OSSSignatureV4.claim(authorization: "OSS4-HMAC-SHA256 Credential=ak,Signature=x") == nil)
    }

    @Test("a restore and a listing with an empty token are signed as documented")
    func restoreAndList() {
        let date = "20260102T030405Z"
        let common = [
            (name: "x-oss-content-sha256", value: "UNSIGNED-PAYLOAD"), (name: "x-oss-date", value: date),
        ]
        let restore = SignableRequest(
            method: "POST",
            bucket: "bkt",
            key: bytes("dir/a b+中.txt"),
            query: [QueryItem("restore")],
            headers: common + [("content-type", "application/xml")]
        )
        let canonical = OSSSignatureV4.canonicalRequest(restore)
        #expect(canonical.hasPrefix("POST\n/bkt/dir/a%20b%2B%E4%B8%AD.txt\nrestore\n"))
        #expect(
            Digest.sha256Hex(bytes(canonical))
                == "aedd38533577493cdc8f55069c2a57f5d6335aa4040a3e548994a7c9976a2933"
        )
        #expect(
            sign(restore, date, secret: "testsecret")
                == "0372bd9ab2d1c665b4a16839670eb85d94f32d3f48104bb6c1b3c08a836814a9"
        )

        let list = SignableRequest(
            method: "GET",
            bucket: "bkt",
            query: [
                QueryItem("continuation-token", ""), QueryItem("delimiter", "/"),
                QueryItem("encoding-type", "url"),
                QueryItem("list-type", "2"), QueryItem("max-keys", "1000"), QueryItem("prefix", "a/"),
            ],
            headers: common + [("range", "bytes=0-9")]
        )
        let canonicalList = OSSSignatureV4.canonicalRequest(list, additionalHeaders: ["range"])
        #expect(
            Digest.sha256Hex(bytes(canonicalList))
                == "491d754ad64fe809f8cd5cc1070d5dbcf45876ab92c2f84b0106567b289049ac"
        )
        #expect(
            sign(list, date, secret: "testsecret", ["range"])
                == "06379c17c150676c7427a68b5fc70b29947d5d7e0d6886818da5bd4013539833"
        )
    }

    @Test("a presigned request is read from its query, and its signature is no part of what it signs")
    func presigned() throws {
        let query = try #require(
            [QueryItem](
                wire:
                    "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=ak%2F20231216%2Fcn-hangzhou%2Foss%2F"
                    + "aliyun_v4_request&x-oss-date=20231216T162057Z&x-oss-expires=600&x-oss-signature=ff"
            )
        )
        let claim = try #require(OSSSignatureV4.claim(query: query))
        #expect(claim.presigned == .init(date: "20231216T162057Z", lifeSeconds: 600))
        #expect(claim.signature == "ff")
        let request = SignableRequest(method: "GET", bucket: "b", key: bytes("k"), query: query)
        let bare = SignableRequest(
            method: "GET",
            bucket: "b",
            key: bytes("k"),
            query: Array(query.dropLast())
        )
        #expect(OSSSignatureV4.canonicalRequest(request) == OSSSignatureV4.canonicalRequest(bare))
        #expect(OSSSignatureV4.canonicalRequest(request).hasSuffix("\nUNSIGNED-PAYLOAD"))
    }
}

@Suite("S3 signature version 4")
struct S3SignatureV4Tests {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    let date = "20130524T000000Z"

    func request(
        _ method: String,
        _ path: String,
        _ query: [QueryItem] = [],
        hash: String? = nil,
        _ more: [(name: String, value: String)] = []
    ) -> SignableRequest {
        SignableRequest(
            method: method,
            bucket: nil,
            wirePath: path,
            query: query,
            headers: [
                ("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", hash ?? empty),
                ("x-amz-date", date),
            ] + more
        )
    }

    func sign(_ request: SignableRequest) -> String {
        S3SignatureV4.signature(
            request,
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            scope: SignatureScope(day: "20130524", region: "us-east-1", service: "s3"),
            date: date,
            signedHeaders: request.headers.map(\.name)
        )
    }

    @Test("the four published vectors come out")
    func published() {
        let get = request("GET", "/test.txt", [("range", "bytes=0-9")])
        #expect(
            Digest.sha256Hex(
                bytes(S3SignatureV4.canonicalRequest(get, signedHeaders: get.headers.map(\.name)))
            )
                == "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972"
        )
        #expect(sign(get) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
        #expect(
            sign(
                request(
                    "PUT",
                    "/test%24file.text",
                    hash: Digest.sha256Hex(bytes("Welcome to Amazon S3.")),
                    [
                        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                    ]
                )
            )
                == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        )
        #expect(
            sign(request("GET", "/", [QueryItem("lifecycle")]))
                == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        )
        #expect(
            sign(request("GET", "/", [QueryItem("prefix", "J"), QueryItem("max-keys", "2")]))
                == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        )
    }

    func request(_ method: String, _ path: String, _ more: [(name: String, value: String)]) -> SignableRequest
    {
        request(method, path, [], hash: nil, more)
    }

    @Test("a restore with a token is signed as documented, its body's digests included")
    func restore() throws {
        let body = bytes(
            #"<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>2</Days>"#
                + "<GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>"
        )
        #expect(body.count == 157)
        #expect(Digest.md5Base64(body) == "Jb6Bg+ypBMZ57QH4gbWdnQ==")
        #expect(Digest.sha256Hex(body) == "7ce6e1b2c1af727587d81c118234363ad5e6710486207b871b0dea916bc34076")
        let request = SignableRequest(
            method: "POST",
            bucket: nil,
            wirePath: PercentEncoding.encode("/dir/a b+中.txt", keepingSlash: true),
            query: [QueryItem("restore"), QueryItem("versionId", "v1")],
            headers: [
                ("host", "bkt.s3.us-west-2.amazonaws.com"), ("content-type", "application/xml"),
                ("content-md5", Digest.md5Base64(body)), ("x-amz-content-sha256", Digest.sha256Hex(body)),
                ("x-amz-date", "20260102T030405Z"), ("x-amz-security-token", "STSTOKEN"),
            ]
        )
        let canonical = S3SignatureV4.canonicalRequest(request, signedHeaders: request.headers.map(\.name))
        #expect(canonical.hasPrefix("POST\n/dir/a%20b%2B%E4%B8%AD.txt\nrestore=&versionId=v1\n"))
        #expect(
            Digest.sha256Hex(bytes(canonical))
                == "89d8c7a7cfb77e050e68ba8cd53a72038317b0fbff56a63603f0a39a962c057d"
        )
        let text = S3SignatureV4.authorization(
            request,
            credentials: Credentials(
                accessKeyID: "AK",
                secretAccessKey: "testsecret",
                sessionToken: "STSTOKEN"
            ),
            region: "us-west-2",
            date: "20260102T030405Z"
        )
        #expect(text.hasSuffix("Signature=027d6034f192bdc8553fa99600428b9cb3afc11ca182b708d855c4b4194b9cb9"))
        let claim = try #require(S3SignatureV4.claim(authorization: text))
        #expect(claim.scope.region == "us-west-2")
        #expect(
            claim.signedHeaders.joined(separator: ";")
                == "content-md5;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
        )
    }

    @Test("the published presigned URL verifies")
    func presigned() throws {
        // The worked example of the S3 API reference, "Authenticating requests: using query parameters".
        let query = try #require(
            [QueryItem](
                wire:
                    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
                    + "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                    + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
            )
        )
        let claim = try #require(S3SignatureV4.claim(query: query))
        let request = SignableRequest(
            method: "GET",
            bucket: nil,
            wirePath: "/test.txt",
            query: query,
            headers: [("host", "examplebucket.s3.amazonaws.com")]
        )
        #expect(claim.presigned?.lifeSeconds == 86400)
        #expect(
            S3SignatureV4.signature(
                request,
                secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                scope: claim.scope,
                date: claim.presigned?.date ?? "",
                signedHeaders: claim.signedHeaders
            ) == claim.signature
        )
    }

    @Test("runs of blanks in a header's value are signed as one")
    func blanks() {
        let request = SignableRequest(method: "GET", bucket: nil, headers: [("x-amz-meta-a", "  one   two ")])
        #expect(
            S3SignatureV4.canonicalRequest(request, signedHeaders: ["x-amz-meta-a"]).contains(
                "\nx-amz-meta-a:one two\n"
            )
        )
    }
}

@Suite("credentials")
struct CredentialsTests {
    @Test("credentials print neither secret nor token")
    func redacted() {
        let credentials = Credentials(accessKeyID: "AK", secretAccessKey: "hush", sessionToken: "tock")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\([credentials])"] {
            #expect(text.contains("AK"))
            #expect(!text.contains("hush"))
            #expect(!text.contains("tock"))
        }
    }

    @Test("signatures are compared over their whole length")
    func comparison() {
        #expect(Digest.matches("abc", "abc"))
        #expect(!Digest.matches("abc", "abd"))
        #expect(!Digest.matches("abc", "abcd"))
    }
}
