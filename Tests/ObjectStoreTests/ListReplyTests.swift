import Testing
import ThawCore
import Wire

@testable import ObjectStore

private func page(_ body: String, _ dialect: any BucketDialect) throws -> ListPage {
    try ListReply.page(Array(body.utf8), dialect)
}

@Suite("replies to listings")
struct ListReplyTests {
    @Test("OSS: the documented reply is read, keys, token and restore state decoded")
    func oss() throws {
        let page = try page(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult>
              <Name>examplebucket</Name><Prefix>fun</Prefix><StartAfter/><ContinuationToken/>
              <MaxKeys>100</MaxKeys><Delimiter>%2F</Delimiter><EncodingType>url</EncodingType>
              <IsTruncated>true</IsTruncated><NextContinuationToken>Cg%3D%3D</NextContinuationToken><KeyCount>2</KeyCount>
              <Contents>
                <Key>fun%20a%2B+b%00%FF</Key><LastModified>2024-10-23T05:25:24.000Z</LastModified>
                <ETag>"1C71822C6C732797FA709920F142****"</ETag><Type>Normal</Type><Size>21839</Size>
                <StorageClass>ColdArchive</StorageClass>
                <RestoreInfo>ongoing-request="false", expiry-date="Fri, 08 Nov 2024 08:15:52 GMT"</RestoreInfo>
                <TransitionTime>2024-10-31T00:24:17.000Z</TransitionTime>
                <Owner><ID>0022012****</ID><DisplayName>user-example</DisplayName></Owner>
              </Contents>
              <CommonPrefixes><Prefix>fun%2Fmovie%2F</Prefix></CommonPrefixes>
            </ListBucketResult>
            """,
            OSSDialect()
        )
        #expect(page.continuationToken == "Cg==")
        #expect(page.prefixes == [ObjectKey("fun/movie/")])
        let object = try #require(page.objects.first)
        #expect(object.key.bytes == Array("fun a++b".utf8) + [0, 0xFF])
        #expect(object.record.sizeBytes == 21839)
        #expect(object.record.etag == "\"1C71822C6C732797FA709920F142****\"")
        #expect(object.record.storageClass == StorageClass("ColdArchive"))
        #expect(object.record.modified == WireDate.parseISO8601("2024-10-23T05:25:24Z"))
        #expect(
            object.record.restore == .restored(until: WireDate.parseRFC1123("Fri, 08 Nov 2024 08:15:52 GMT"))
        )
    }

    @Test("S3: the documented reply is read; a plus is a blank, the token is opaque")
    func s3() throws {
        let page = try page(
            """
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <IsTruncated>true</IsTruncated><NextContinuationToken>a%2Fb+c</NextContinuationToken>
              <Contents><Key>k+1%2B</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;5d41&quot;</ETag>
                <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>5</Size><StorageClass>GLACIER</StorageClass>
                <RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>
                  <RestoreExpiryDate>2026-01-05T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Contents>
              <Contents><Key>k2</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>"x"</ETag><Size>5</Size>
                <RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>
              <CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes><EncodingType>url</EncodingType>
            </ListBucketResult>
            """,
            S3Dialect()
        )
        #expect(page.continuationToken == "a%2Fb+c")
        #expect(page.objects.map(\.key) == [ObjectKey("k 1+"), ObjectKey("k2")])
        #expect(
            page.objects[0].record.restore == .restored(until: WireDate.parseISO8601("2026-01-05T00:00:00Z"))
        )
        #expect(page.objects[0].record.etag == "\"5d41\"")
        #expect(page.objects[1].record.restore == .ongoing)
        #expect(page.objects[1].record.storageClass == StorageClass("STANDARD"))
    }

    @Test("without an encoding type keys are taken as they are; the last page has no token")
    func plain() throws {
        let page = try page(
            """
            <ListBucketResult><NextContinuationToken>x</NextContinuationToken><IsTruncated>false</IsTruncated>
            <CommonPrefixes><Prefix>a%2F+</Prefix></CommonPrefixes></ListBucketResult>
            """,
            S3Dialect()
        )
        #expect(page.prefixes == [ObjectKey("a%2F+")])
        #expect(page.continuationToken == nil)
    }

    private static let entry =
        "<Key>k</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>\"x\"</ETag><Size>5</Size>"

    @Test(
        "what is no listing is refused",
        arguments: [
            "", "<html></html>", "<Error><Code>InternalError</Code></Error>", "<ListBucketResult>",
            "<ListBucketResult></ListBucketResult>x",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><EncodingType>url</EncodingType><CommonPrefixes><Prefix>%zz</Prefix></CommonPrefixes></ListBucketResult>",
            "<ListBucketResult><Contents>\(entry.replacing("<Size>5", with: "<Size>-5"))</Contents></ListBucketResult>",
            "<ListBucketResult><Contents>\(entry.replacing("<Key>k</Key>", with: ""))</Contents></ListBucketResult>",
            "<ListBucketResult><Contents>\(entry.replacing("2026-", with: "26-"))</Contents></ListBucketResult>",
            "<ListBucketResult><Contents>\(entry.replacing("ETag", with: "Tag"))</Contents></ListBucketResult>",
        ]
    )
    func refused(_ body: String) {
        #expect(throws: ListProblem.self) { try page(body, S3Dialect()) }
    }
}

@Suite("walking through a listing")
struct ListingTests {
    private func page(_ keys: [String], _ prefixes: [String] = [], token: String? = nil) -> String {
        let objects = keys.map {
            "<Contents><Key>\($0)</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>x</ETag><Size>1</Size></Contents>"
        }
        let common = prefixes.map { "<CommonPrefixes><Prefix>\($0)</Prefix></CommonPrefixes>" }
        let next = token.map { "<NextContinuationToken>\($0)</NextContinuationToken>" } ?? ""
        return
            "<ListBucketResult><IsTruncated>\(token != nil)</IsTruncated>\(next)\(objects.joined())\(common.joined())"
            + "</ListBucketResult>"
    }

    private func walk(_ pages: [String], prefix: String = "", startAfter: String? = nil) async throws
        -> [String]
    {
        let transport = ScriptedTransport(pages.map { .reply(200, body: $0) })
        var listing = Listing(
            store(try configuration(), transport),
            ListRequest(prefix: ObjectKey(prefix), startAfter: startAfter.map { ObjectKey($0) })
        )
        var names: [String] = []
        while let page = try await listing.next() {
            names += page.objects.map(\.key.description) + page.prefixes.map(\.description)
        }
        return names
    }

    @Test("pages follow each other to the last, empty ones among them")
    func pages() async throws {
        let names = try await walk([
            page(["a", "c"], ["b/"], token: "1"), page([], token: "2"), page([], ["d/"], token: "3"),
            page(["e"]),
        ])
        #expect(names == ["a", "c", "b/", "d/", "e"])
    }

    @Test("a listing that loops, goes back or strays is nonsense")
    func nonsense() async throws {
        for pages in [
            [page(["a"], token: "1"), page(["b"], token: "1")],
            [page(["b"], token: "1"), page(["b"])],
            [page(["b"], ["c/"], token: "1"), page(["bb"])],
            [page(["b", "a"])],
            [page([], ["b/", "a/"])],
        ] {
            let error = await #expect(throws: StoreError.self) { try await walk(pages) }
            #expect(error?.kind == .nonsense)
        }
        for (prefix, start) in [("p/", nil), ("", "x")] {
            let error = await #expect(throws: StoreError.self) {
                try await walk([page(["b"])], prefix: prefix, startAfter: start)
            }
            #expect(error?.kind == .nonsense)
        }
    }

    @Test("a prefix that stands for keys past the start is no step back")
    func prefixOverStart() async throws {
        let names = try await walk([page(["c"], ["b/"])], startAfter: "b/x")
        #expect(names == ["c", "b/"])
    }

    @Test("pages of nothing come to an end")
    func emptyForEver() async throws {
        let error = await #expect(throws: StoreError.self) {
            try await walk((0..<2000).map { page([], token: "\($0)") })
        }
        #expect(error?.kind == .nonsense)
    }
}
