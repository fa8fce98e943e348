import Testing

@testable import Wire

private let nonce = "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"

@Suite("signatures of RPC products")
struct RPCSignatureTests {
    private func parameters(_ more: KeyValuePairs<String, String>) -> [QueryItem] {
        [
            QueryItem("SignatureVersion", "1.0"), QueryItem("SignatureMethod", "HMAC-SHA1"),
            QueryItem("SignatureNonce", nonce), QueryItem("AccessKeyId", "testid"),
        ] + more.map { QueryItem($0.key, $0.value) }
    }

    @Test("version 1.0: the published vector comes out, with the signature among the parameters and without")
    func published() {
        let request = parameters([
            "Action": "DescribeRegions", "Format": "XML", "Timestamp": "2016-02-23T12:46:24Z", "Version": "2014-05-26",
        ])
        let signature = "OLeaidS1JvxuMvnyHOwuJ+uX5qY="
        #expect(RPCSignature.signature(method: "GET", request, secret: "testsecret") == signature)
        let signed = request + [QueryItem("Signature", signature)]
        #expect(RPCSignature.signature(method: "GET", signed, secret: "testsecret") == signature)
        let claim = RPCSignature.claim(signed)
        #expect(claim?.accessKeyID == "testid" && claim?.signature == signature)
        #expect(RPCSignature.claim(request) == nil)
    }

    @Test("version 1.0: what is encoded already is encoded once more, brackets, quotes and blanks too")
    func create() {
        let request = parameters([
            "Action": "CreateRestoreJob", "Version": "2017-09-08", "Format": "JSON", "RegionId": "cn-hangzhou",
            "Timestamp": "2026-01-02T03:04:05Z", "RestoreType": "OSS", "SourceType": "OSS", "VaultId": "v-1",
            "SnapshotId": "s-1", "TargetBucket": "tb", "TargetPrefix": "p/", "Include": "[\"/a b\"]",
        ])
        let text = RPCSignature.stringToSign(method: "POST", request)
        #expect(text.hasPrefix("POST&%2F&AccessKeyId%3Dtestid%26Action%3DCreateRestoreJob%26Format%3DJSON%26Include%3D"))
        #expect(text.contains("%255B%2522%252Fa%2520b%2522%255D%26RegionId"))
        let signature = RPCSignature.signature(method: "POST", request, secret: "testsecret")
        #expect(signature == "fEILe1BKnx9ngzzwevLW52R1Sek=")
    }
}

@Suite("signature ACS3-HMAC-SHA256")
struct ACS3SignatureTests {
    private let published = SignableRequest(
        method: "POST", bucket: nil,
        query: [
            QueryItem("RegionId", "cn-shanghai"),
            QueryItem("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
        ],
        headers: [
            ("host", "ecs.cn-shanghai.aliyuncs.com"), ("x-acs-action", "RunInstances"),
            ("x-acs-content-sha256", Digest.sha256Hex([])), ("x-acs-date", "2023-10-26T10:22:32Z"),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"), ("x-acs-version", "2014-05-26"),
        ])

    @Test("the published vector comes out, canonical request and signature")
    func vector() {
        let names = published.headers.map(\.name)
        #expect(
            ACS3Signature.stringToSign(published, signedHeaders: names)
                == "ACS3-HMAC-SHA256\n7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259")
        #expect(
            ACS3Signature.signature(published, secret: "YourAccessKeySecret", signedHeaders: names)
                == "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")
    }

    @Test("a form's digest is signed, and headers that the signer does not name are not")
    func form() {
        let body = Array("Include=%5B%22%2Fa%20b%22%5D".utf8)
        let request = SignableRequest(
            method: "POST", bucket: nil,
            query: [
                QueryItem("VaultId", "v-1"), QueryItem("RestoreType", "OSS"), QueryItem("SourceType", "OSS"),
                QueryItem("SnapshotId", "s-1"), QueryItem("TargetPrefix", "p/"), QueryItem("TargetBucket", "tb"),
            ],
            headers: [
                ("host", "hbr.cn-hangzhou.aliyuncs.com"), ("content-type", "application/x-www-form-urlencoded"),
                ("x-acs-action", "CreateRestoreJob"), ("x-acs-content-sha256", Digest.sha256Hex(body)),
                ("x-acs-date", "2026-01-02T03:04:05Z"), ("x-acs-signature-nonce", "nonce1"),
                ("x-acs-version", "2017-09-08"),
            ])
        let names = request.headers.map(\.name)
        let signature = "aa5753803140fd6810cbb0cb8427422394f47778eb388d4a274046e2499d5fc6"
        #expect(
            ACS3Signature.stringToSign(request, signedHeaders: names)
                == "ACS3-HMAC-SHA256\nf4c5c2236d43684b91a0e8b5f3056d977d7f84d0de4378151dafc5f5bf93d022")
        let authorization = ACS3Signature.authorization(
            request, credentials: Credentials(accessKeyID: "testid", secretAccessKey: "testsecret"))
        let claim = ACS3Signature.claim(authorization: authorization)
        #expect(claim == ACS3Signature.Claim(
            accessKeyID: "testid", signedHeaders: names.sorted(), signature: signature))
        var travelled = request
        travelled.headers.append(("accept", "*/*"))
        #expect(
            ACS3Signature.signature(travelled, secret: "testsecret", signedHeaders: claim?.signedHeaders ?? [])
                == signature)
        #expect(ACS3Signature.claim(authorization: "OSS4-HMAC-SHA256 Credential=a") == nil)
    }
}
