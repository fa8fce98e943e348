import Testing

@testable import Wire

@Suite struct OASSignatureTests {
    private static let date = "Tue, 25 Mar 2014 12:00:00 GMT"

    private func request(
        _ method: String, _ path: String, query: [QueryItem] = [], headers: [(name: String, value: String)] = []
    ) -> SignableRequest {
        SignableRequest(
            method: method, bucket: nil, wirePath: path, query: query,
            headers: headers + [
                ("x-oas-version", "0.2.5"), ("date", Self.date), ("content-type", "application/json"), ("host", "h"),
            ])
    }

    @Test("requests are signed as the vendor's SDK signs them")
    func vectors() {
        let etag = "5D41402ABC4B2A76B9719D911017C592"
        let cases = [
            (request("PUT", "/vaults/myvault"), "OJix4jps/BVRoaej9w7kfqlpEaE="),
            (
                request("GET", "/vaults", query: [QueryItem("marker", "ABC"), QueryItem("limit", "10")]),
                "hA7zLSx8UoFzoq5zjmxwm2ARI2k="
            ),
            (request("POST", "/vaults/VID/jobs"), "WcObrXVs7Vfr7MJ0DedEydVFpTo="),
            (
                request(
                    "PUT", "/vaults/VID/multipart-uploads/UID",
                    headers: [("x-oas-tree-etag", etag), ("x-oas-content-etag", etag)]),
                "4UI5vunwHc+80pCxfOwUzS/GHTU="
            ),
        ]
        for (request, signature) in cases {
            #expect(OASSignature.signature(request, secret: "testsecret") == signature)
        }
    }

    @Test("the string to sign has the date, the vendor's headers and the resource")
    func stringToSign() {
        let signed = request("GET", "/vaults", query: [QueryItem("other", "1"), QueryItem("limit", "10")])
        #expect(
            OASSignature.stringToSign(signed)
                == "GET\n\(Self.date)\nx-oas-version:0.2.5\n/vaults?limit=10")
    }

    @Test("who signed is read from the header")
    func claim() {
        let claim = OASSignature.claim(authorization: "OAS key:c2ln")
        #expect(claim?.accessKeyID == "key")
        #expect(claim?.signature == "c2ln")
        #expect(OASSignature.claim(authorization: "OSS key:c2ln") == nil)
    }
}

@Suite struct TreeETagTests {
    private static let mebibyte = 1 << 20

    private func bytes(_ letters: String, tail: String = "") -> [UInt8] {
        letters.utf8.flatMap { [UInt8](repeating: $0, count: Self.mebibyte) } + Array(tail.utf8)
    }

    @Test("the tree is that of the vendor's SDK")
    func vectors() {
        #expect(TreeETag.of(Array("hello".utf8)) == "5D41402ABC4B2A76B9719D911017C592")
        #expect(TreeETag.of(bytes("a")) == "7202826A7791073FE2787F0C94603278")
        #expect(TreeETag.of(bytes("abc", tail: "hello")) == "16A46F3F797A203922DA7DDED69B599B")
        #expect(TreeETag.of([UInt8](repeating: 0, count: 5 * Self.mebibyte)) == "E8849C75E6654891CFD18207B76D96FC")
    }

    @Test("parts of equal size make the tree of the whole")
    func parts() {
        let parts = [TreeETag.of(bytes("ab")), TreeETag.of(bytes("c", tail: "hello"))]
        #expect(parts == ["496EFF216BEA1EC7FA3B4772F13E2DA6", "1C5FD16CC5A283FF329C615CB878DF99"])
        #expect(TreeETag.root(of: parts) == "16A46F3F797A203922DA7DDED69B599B")
    }

    @Test("pieces of any size make the same tree")
    func pieces() {
        let whole = bytes("abc", tail: "hello")
        var tree = TreeETag()
        var rest = whole[...]
        for size in [1, 1_048_575, 1_048_577, 700_000] {
            Array(rest.prefix(size)).withUnsafeBytes { tree.update($0) }
            rest = rest.dropFirst(size)
        }
        Array(rest).withUnsafeBytes { tree.update($0) }
        #expect(tree.value == "16A46F3F797A203922DA7DDED69B599B")
        #expect(tree.leaves.count == 4)
    }
}
