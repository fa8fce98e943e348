import NIOCore
import Testing
import ThawCore
import Wire

@testable import Emulator

@Suite struct BodyTests {
    private func decode(_ text: String, by step: Int) throws -> (String, ChunkDecoder) {
        var decoder = ChunkDecoder()
        var content = ""
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: step) {
            let piece = ByteBuffer(bytes: bytes[start..<min(start + step, bytes.count)])
            for part in try decoder.decode(piece) { content += String(buffer: part) }
        }
        return (content, decoder)
    }

    @Test("an aws-chunked body is decoded wherever the wire cuts it", arguments: [1, 2, 3, 7, 1000])
    func chunks(step: Int) throws {
        let body =
            "5\r\nhello\r\n6;chunk-signature=ab\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
        let (content, decoder) = try decode(body, by: step)
        #expect(content == "hello world")
        #expect(decoder.isComplete)
        #expect(decoder.trailers.map(\.name) == ["x-amz-checksum-crc32"])
        #expect(decoder.trailers.map(\.value) == ["DUoRhQ=="])
    }

    @Test("a malformed chunk is refused", arguments: ["x\r\n", "5\r\nhelloX\r\n", "-1\r\n", "0\r\n\r\nmore"])
    func malformed(body: String) {
        #expect(throws: ProviderError.self) { try decode(body, by: 1000) }
    }

    /// Amazon's example of a signed stream: 66560 times `a` in chunks of 64 KiB and the rest.
    private func signedStream(lastSignature: String) throws -> ChunkDecoder {
        let claim = try #require(
            S3SignatureV4.claim(
                authorization: "AWS4-HMAC-SHA256 "
                    + "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, "
                    + "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
            )
        )
        var decoder = ChunkDecoder(
            signatures: ChunkSignatures(
                claim,
                date: "20130524T000000Z",
                secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
            )
        )
        let signatures = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", lastSignature,
        ]
        var body = ""
        for (length, signature) in zip([65536, 1024, 0], signatures) {
            body += String(length, radix: 16) + ";chunk-signature=" + signature + "\r\n"
            body += String(repeating: "a", count: length) + "\r\n"
        }
        _ = try decoder.decode(ByteBuffer(string: body))
        return decoder
    }

    @Test("the chunks of a signed stream are verified one after the other")
    func signedChunks() throws {
        let good = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
        #expect(try signedStream(lastSignature: good).isComplete)
        #expect(throws: ProviderError.self) {
            try signedStream(lastSignature: String(good.reversed()))
        }
    }

    @Test("a body that ends early is not complete")
    func incomplete() throws {
        let (_, decoder) = try decode("5\r\nhel", by: 1000)
        #expect(!decoder.isComplete)
    }

    @Test(
        "S3's checksums of 123456789",
        arguments: [
            ("crc32", [0xCB, 0xF4, 0x39, 0x26]), ("crc32c", [0xE3, 0x06, 0x92, 0x83]),
        ] as [(String, [UInt8])]
    )
    func checksums(algorithm: String, value: [UInt8]) throws {
        var crc = try #require(ReflectedCRC(algorithm))
        Array("123456789".utf8).withUnsafeBytes { crc.update($0) }
        #expect(crc.value == value)
    }

    @Test(
        "a range is clipped to the object, or is not in it",
        arguments: [
            ("bytes=0-9", 10, 0..<10), ("bytes=0-99", 10, 0..<10), ("bytes=5-", 10, 5..<10),
            ("bytes=-3", 10, 7..<10),
            ("bytes=-30", 10, 0..<10), ("bytes=10-", 10, nil), ("bytes=-0", 10, nil), ("bytes=0-0", 0, nil),
        ] as [(String, UInt64, Range<UInt64>?)]
    )
    func ranges(header: String, size: UInt64, range: Range<UInt64>?) throws {
        #expect(try #require(ByteRangeHeader(header)).clipped(size) == range)
    }

    @Test(
        "what is no single range is ignored",
        arguments: ["bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"]
    )
    func noRanges(header: String) { #expect(ByteRangeHeader(header) == nil) }

    @Test("a slice of a content cuts its segments, and survives the catalog's text")
    func segments() throws {
        let content = [
            Segment(source: .blob(3), offset: 0, length: 100),
            Segment(source: .synthetic(seed: .max), offset: 7, length: 50),
        ]
        #expect(
            content.slice(90..<110) == [
                Segment(source: .blob(3), offset: 90, length: 10),
                Segment(source: .synthetic(seed: .max), offset: 7, length: 10),
            ]
        )
        #expect(content.slice(150..<150).isEmpty)
        #expect([Segment](text: content.text) == content)
        #expect([Segment](text: "") == [])
        #expect([Segment](text: "b1+2") == nil)
    }

    @Test("synthetic content depends on its seed and place only")
    func synthetic() {
        func bytes(_ seed: UInt64, _ range: Range<UInt64>) -> [UInt8] {
            var bytes: [UInt8] = []
            while bytes.count < range.count {
                let slice = SyntheticContent.slice(
                    seed: seed,
                    offset: range.lowerBound + UInt64(bytes.count),
                    max: range.count - bytes.count
                )
                bytes += Array(slice.readableBytesView)
            }
            return bytes
        }
        let whole = bytes(5, 0..<200_000)
        #expect(bytes(5, 65_000..<66_000) == Array(whole[65_000..<66_000]))
        #expect(bytes(5, 3_000_000_000..<3_000_000_010).count == 10)
        #expect(bytes(6, 0..<1000) != Array(whole[..<1000]))
        #expect(SyntheticContent.seed(bucket: "a", key: [98]) != SyntheticContent.seed(bucket: "ab", key: []))
    }
}
