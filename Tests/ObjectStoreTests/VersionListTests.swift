import Testing
import ThawCore
import Wire

@testable import ObjectStore

private func page(_ body: String, _ dialect: any BucketDialect) throws -> VersionPage {
    try VersionListReply.page(Array(body.utf8), dialect)
}

@Suite("replies to listings of versions")
struct VersionListReplyTests {
    @Test("OSS: versions, delete markers and restore states are read; keys are decoded, version ids are not")
    func oss() throws {
        let page = try page(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <ListVersionsResult><Name>b</Name><Prefix/><KeyMarker/><VersionIdMarker/><MaxKeys>20</MaxKeys>
              <Delimiter>%2F</Delimiter><EncodingType>url</EncodingType>
              <IsTruncated>true</IsTruncated><NextKeyMarker>d%20+e</NextKeyMarker>
              <NextVersionIdMarker>CAE%3D</NextVersionIdMarker>
              <DeleteMarker><Key>a%2B</Key><VersionId>m1</VersionId><IsLatest>true</IsLatest>
                <LastModified>2024-10-23T05:25:24.000Z</LastModified><Owner><ID>1</ID></Owner></DeleteMarker>
              <Version><Key>a%2B</Key><VersionId>v%3D1</VersionId><IsLatest>false</IsLatest>
                <LastModified>2024-10-23T05:25:24.000Z</LastModified><ETag>"E"</ETag><Type>Normal</Type><Size>7</Size>
                <StorageClass>ColdArchive</StorageClass><RestoreInfo>ongoing-request="true"</RestoreInfo>
                <TransitionTime>2024-10-31T00:24:17.000Z</TransitionTime><Owner><ID>1</ID></Owner></Version>
              <CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes></ListVersionsResult>
            """,
            OSSDialect()
        )
        #expect(page.next == VersionMarker(key: ObjectKey("d +e"), versionID: "CAE%3D"))
        #expect(page.prefixes == [ObjectKey("d/")])
        let key = ObjectKey("a+")
        let modified = try #require(WireDate.parseISO8601("2024-10-23T05:25:24Z"))
        #expect(
            page.versions == [
                ListedVersion(key: key, versionID: "m1", isLatest: true, record: nil),
                ListedVersion(
                    key: key, versionID: "v%3D1", isLatest: false,
                    record: ObjectRecord(
                        sizeBytes: 7, modified: modified, etag: "\"E\"", storageClass: StorageClass("ColdArchive"),
                        restore: .ongoing, versionID: "v%3D1")),
            ])
        #expect(page.versions.map(\.isDeleteMarker) == [true, false])
    }

    @Test("S3: a plus is a blank, RestoreStatus is read, an empty version marker is none")
    func s3() throws {
        let page = try page(
            """
            <ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <IsTruncated>true</IsTruncated><NextKeyMarker>d%2F</NextKeyMarker><NextVersionIdMarker/>
              <EncodingType>url</EncodingType>
              <Version><Key>k+1</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>
                <LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;5d41&quot;</ETag><Size>5</Size>
                <StorageClass>GLACIER</StorageClass>
                <RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>
                  <RestoreExpiryDate>2026-01-05T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Version>
            </ListVersionsResult>
            """,
            S3Dialect()
        )
        #expect(page.next == VersionMarker(key: ObjectKey("d/"), versionID: nil))
        let version = try #require(page.versions.first)
        #expect(version.key == ObjectKey("k 1"))
        #expect(version.versionID == "null")
        #expect(version.isLatest)
        #expect(version.record?.restore == .restored(until: WireDate.parseISO8601("2026-01-05T00:00:00Z")))
    }

    private static let version =
        "<Key>k</Key><VersionId>v</VersionId><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>x</ETag><Size>5</Size>"

    @Test(
        "what is no listing of versions is refused",
        arguments: [
            "", "<ListBucketResult></ListBucketResult>", "<ListVersionsResult>",
            "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
            "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker/></ListVersionsResult>",
            "<ListVersionsResult><Version>\(version.replacing("<VersionId>v</VersionId>", with: ""))</Version></ListVersionsResult>",
            "<ListVersionsResult><Version>\(version.replacing("<Key>k</Key>", with: ""))</Version></ListVersionsResult>",
            "<ListVersionsResult><Version>\(version.replacing("<Size>5", with: "<Size>x"))</Version></ListVersionsResult>",
            "<ListVersionsResult><DeleteMarker><Key>k</Key></DeleteMarker></ListVersionsResult>",
        ]
    )
    func refused(_ body: String) {
        #expect(throws: ListProblem.self) { try page(body, S3Dialect()) }
    }
}

@Suite("walking through a listing of versions")
struct VersionListingTests {
    private func page(
        _ versions: [(String, String)], _ prefixes: [String] = [], next: (String, String)? = nil
    ) -> String {
        let items = versions.map { key, id in
            "<Version><Key>\(key)</Key><VersionId>\(id)</VersionId><LastModified>2026-01-02T03:04:05Z</LastModified>"
                + "<ETag>x</ETag><Size>1</Size></Version>"
        }
        let common = prefixes.map { "<CommonPrefixes><Prefix>\($0)</Prefix></CommonPrefixes>" }
        let marker = next.map {
            "<NextKeyMarker>\($0.0)</NextKeyMarker><NextVersionIdMarker>\($0.1)</NextVersionIdMarker>"
        }
        return "<ListVersionsResult><IsTruncated>\(next != nil)</IsTruncated>\(marker ?? "")"
            + "\(items.joined())\(common.joined())</ListVersionsResult>"
    }

    private func walk(_ pages: [String], prefix: String = "") async throws -> [String] {
        let transport = ScriptedTransport(pages.map { .reply(200, body: $0) })
        var listing = VersionListing(
            store(try configuration(), transport), VersionListRequest(prefix: ObjectKey(prefix)))
        var names: [String] = []
        while let page = try await listing.next() {
            names += page.versions.map { "\($0.key)@\($0.versionID)" } + page.prefixes.map(\.description)
        }
        return names
    }

    @Test("pages follow each other to the last; one may end between two versions of a key, one may be empty")
    func pages() async throws {
        let names = try await walk([
            page([("a", "2"), ("b", "9"), ("b", "1")], ["aa/"], next: ("b", "1")),
            page([("b", "5")], next: ("b", "5")), page([], next: ("bb", "")), page([("c", "1")], ["d/"]),
        ])
        #expect(names == ["a@2", "b@9", "b@1", "aa/", "b@5", "c@1", "d/"])
    }

    @Test("a listing that loops, goes back, repeats itself or strays is nonsense")
    func nonsense() async throws {
        for pages in [
            [page([("a", "1")], next: ("a", "1")), page([("a", "2")], next: ("a", "1"))],
            [page([("a", "1")], next: ("a", "1")), page([("a", "1")])],
            [page([("a", "1"), ("a", "1")])],
            [page([("b", "1"), ("a", "1")])],
            [page([("b", "1")], next: ("b", "1")), page([("a", "1")])],
            [page([("b", "1")], ["c/"], next: ("c/", "")), page([("bb", "1")])],
            [page([("b", "1")], ["c/"], next: ("c/", "")), page([], ["c/"])],
            [page([], ["b/", "a/"])],
        ] {
            let error = await #expect(throws: StoreError.self) { try await walk(pages) }
            #expect(error?.kind == .nonsense)
        }
        for body in [page([("b", "1")]), page([], ["b/"])] {
            let error = await #expect(throws: StoreError.self) { try await walk([body], prefix: "p/") }
            #expect(error?.kind == .nonsense)
        }
    }

    @Test("pages of nothing come to an end")
    func emptyForEver() async throws {
        let error = await #expect(throws: StoreError.self) {
            try await walk((0..<2000).map { page([], next: ("k\($0)", "")) })
        }
        #expect(error?.kind == .nonsense)
    }
}
