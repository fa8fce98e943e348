import Testing
import ThawCore

@testable import Wire

@Suite("percent-encoding")
struct PercentEncodingTests {
    @Test("every byte comes back, and only the unreserved ones travel as they are")
    func allBytes() {
        let unreserved = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~".utf8)
        for byte in UInt8.min...UInt8.max {
            let encoded = PercentEncoding.encode([byte])
            let hex = String(byte, radix: 16, uppercase: true)
            let expected =
                unreserved.contains(byte)
                ? String(decoding: [byte], as: UTF8.self) : "%" + (byte < 16 ? "0" : "") + hex
            #expect(encoded == expected)
            #expect(PercentEncoding.decode(encoded) == [byte])
            if encoded.hasPrefix("%") { #expect(PercentEncoding.decode(encoded.lowercased()) == [byte]) }
        }
        #expect(PercentEncoding.encode("a/b c", keepingSlash: true) == "a/b%20c")
        #expect(PercentEncoding.encode("a/b") == "a%2Fb")
    }

    @Test("malformed escapes are refused", arguments: ["%", "a%2", "%2g", "%g2", "%+1", "%%20"])
    func malformed(_ text: String) { #expect(PercentEncoding.decode(text) == nil) }

    @Test("a plus is a blank only where the dialect says so")
    func plus() {
        #expect(PercentEncoding.decode("a+b%2B") == Array("a+b+".utf8))
        #expect(PercentEncoding.decode("a+b%2B", plusAsBlank: true) == Array("a b+".utf8))
    }

    @Test("a query keeps bare names, empty values and bytes that are no text")
    func query() throws {
        let wire = "restore&prefix=&x=%FF%2F&versionId=a%3Db=c"
        let items = try #require([QueryItem](wire: wire))
        #expect(
            items == [
                QueryItem("restore"), QueryItem("prefix", ""), QueryItem("x", bytes: [0xFF, 0x2F]),
                QueryItem("versionId", "a=b=c"),
            ]
        )
        #expect(items.wire == "restore&prefix=&x=%FF%2F&versionId=a%3Db%3Dc")
        #expect([QueryItem](wire: "a=%zz") == nil)
    }
}

@Suite("base64 and checksums")
struct DigestTests {
    @Test("base64 agrees with RFC 4648's examples, both ways")
    func base64() {
        let examples = [
            "": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foob": "Zm9vYg==", "foobar": "Zm9vYmFy",
        ]
        for (plain, encoded) in examples {
            #expect(Base64.encode(Array(plain.utf8)) == encoded)
            #expect(Base64.decode(encoded) == Array(plain.utf8))
        }
        #expect(Base64.decode("Zg") == [UInt8(ascii: "f")])
        #expect(Base64.decode("Z") == nil)
        #expect(Base64.decode("Zm9*") == nil)
    }

    @Test("CRC-64 agrees with the published values")
    func crc64() {
        #expect(CRC64.of("123456789".utf8) == 11_051_210_869_376_104_954)
        #expect(CRC64.of("".utf8) == 0)
        #expect(CRC64.of("hello".utf8) == 11_177_612_005_948_864_433)
        #expect(CRC64.of(" world".utf8) == 189_104_202_581_697_307)
        #expect(CRC64.of("hello world".utf8) == 5_981_764_153_023_615_706)
    }

    @Test("CRC-64/NVME agrees with the published values")
    func crc64NVME() {
        let vectors = [("123456789", "rosUhgp5mIg="), ("hello", "M3eFcAZSQlc=")]
        for (text, checksum) in vectors {
            let value = CRC64.of(text.utf8, .nvme)
            #expect(Base64.encode(withUnsafeBytes(of: value.bigEndian) { Array($0) }) == checksum)
        }
        let hello = CRC64.of("hello".utf8, .nvme), world = CRC64.of(" world".utf8, .nvme)
        #expect(CRC64.combine(hello, world, secondBytes: 6, .nvme) == CRC64.of("hello world".utf8, .nvme))
    }

    @Test("CRC-64 of pieces combines to that of the whole, however it is cut")
    func crc64Pieces() {
        let whole = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 3) }
        let expected = CRC64.of(whole)
        for cut in [0, 1, 7, 8, 9, 63, 500, 999, 1000] {
            var running = CRC64()
            whole[..<cut].withUnsafeBytes { running.update($0) }
            whole[cut...].withUnsafeBytes { running.update($0) }
            #expect(running.value == expected)
            let combined = CRC64.combine(
                CRC64.of(whole[..<cut]),
                CRC64.of(whole[cut...]),
                secondBytes: UInt64(1000 - cut)
            )
            #expect(combined == expected)
        }
    }
}

@Suite("dates on the wire")
struct WireDateTests {
    let instant = Timestamp(seconds: 1_600_951_233)

    @Test("the three forms are written and read")
    func forms() {
        #expect(WireDate.rfc1123(instant) == "Thu, 24 Sep 2020 12:40:33 GMT")
        #expect(WireDate.parseRFC1123("Thu, 24 Sep 2020 12:40:33 GMT") == instant)
        #expect(WireDate.iso8601(instant) == "2020-09-24T12:40:33.000Z")
        #expect(WireDate.parseISO8601("2020-09-24T12:40:33.000Z") == instant)
        #expect(WireDate.parseISO8601("2020-09-24T12:40:33Z") == instant)
        #expect(WireDate.parseISO8601("2020-09-24T12:40:33.5Z") == instant + .milliseconds(500))
        #expect(WireDate.basic(instant) == "20200924T124033Z")
        #expect(WireDate.parseBasic("20200924T124033Z") == instant)
    }

    @Test("dates survive the trip across leap years, centuries and the epoch")
    func roundTrip() {
        // A stride that is no multiple of a day, over about 600 years.
        for step in -250...250 {
            let time = Timestamp(seconds: Int64(step) * 35_999_999)
            #expect(WireDate.parseRFC1123(WireDate.rfc1123(time)) == time)
            #expect(WireDate.parseISO8601(WireDate.iso8601(time)) == time)
            #expect(WireDate.parseBasic(WireDate.basic(time)) == time)
        }
        #expect(WireDate.rfc1123(Timestamp(seconds: 951_782_400)) == "Tue, 29 Feb 2000 00:00:00 GMT")
        #expect(WireDate.rfc1123(Timestamp(seconds: -1)) == "Wed, 31 Dec 1969 23:59:59 GMT")
    }

    @Test(
        "what is not a date is refused",
        arguments: [
            "", "Thu, 24 Sep 2020 12:40:33", "Xyz, 24 Sep 2020 12:40:33 GMT", "Thu, 31 Sep 2020 12:40:33 GMT",
            "Thu, 24 Sep 2020 24:00:00 GMT", "Thu, 24 Sep 2020 12:40:33 GMT ",
            "Thu, 29 Feb 2021 00:00:00 GMT",
            "Thu, 24 Sep 9999 12:40:33 GMT",
        ]
    )
    func notRFC1123(_ text: String) { #expect(WireDate.parseRFC1123(text) == nil) }

    @Test(
        "what is not an ISO date is refused",
        arguments: [
            "", "2020-13-01T00:00:00Z", "2020-09-24", "2020-09-24T12:40:33.Z",
            "2020-09-24T12:40:33.1234567890Z",
        ]
    )
    func notISO(_ text: String) {
        #expect(WireDate.parseISO8601(text) == nil)
        #expect(WireDate.parseBasic(text) == nil)
    }
}

@Suite("the restore header")
struct RestoreHeaderTests {
    let expiry = Timestamp(seconds: 1_600_951_233)

    @Test("both documented forms are read, and written again")
    func documented() {
        for header in [RestoreHeader.ongoing, .restored(until: expiry), .restored(until: nil)] {
            #expect(RestoreHeader(header.text) == header)
        }
        #expect(
            RestoreHeader.restored(until: expiry).text
                == #"ongoing-request="false", expiry-date="Thu, 24 Sep 2020 12:40:33 GMT""#
        )
    }

    @Test(
        "spelling, blanks and order do not matter",
        arguments: [
            #"ONGOING-REQUEST="FALSE",expiry-date="Thu, 24 Sep 2020 12:40:33 GMT""#,
            #"expiry-date = "Thu, 24 Sep 2020 12:40:33 GMT" ,  Ongoing-Request="false""#,
        ]
    )
    func tolerated(_ text: String) { #expect(RestoreHeader(text) == .restored(until: expiry)) }

    @Test("an expiry date on a restore that goes on, or one that is no date, is passed over")
    func oddities() {
        #expect(
            RestoreHeader(#"ongoing-request="true", expiry-date="Thu, 24 Sep 2020 12:40:33 GMT""#) == .ongoing
        )
        #expect(RestoreHeader(#"ongoing-request="false", expiry-date="soon""#) == .restored(until: nil))
    }

    @Test(
        "text that does not say whether the restore goes on is no restore header",
        arguments: [
            "", "ongoing-request", "ongoing-request=true", #"ongoing-request="maybe""#,
            #"ongoing-request="true"#, "===",
        ]
    )
    func refused(_ text: String) { #expect(RestoreHeader(text) == nil) }
}
