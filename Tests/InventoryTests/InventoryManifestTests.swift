import Testing
import ThawCore
import Wire

@testable import Inventory

@Suite("the manifest of a report")
struct InventoryManifestTests {
    private func manifest(
        created: String = "\"1514944800000\"", format: String = "CSV", schema: String = Fixture.schema,
        files: String = "[]"
    ) throws -> InventoryManifest {
        try InventoryManifest(
            Array(
                """
                {"sourceBucket": "src", "destinationBucket": "arn:aws:s3:::dst", "version": "2016-11-30",
                 "creationTimestamp" : \(created), "fileFormat": "\(format)", "fileSchema": "\(schema)", "files": \(files)}
                """.utf8))
    }

    @Test("S3's tells its time in milliseconds, and OSS's in seconds")
    func times() throws {
        #expect(try manifest().createdAt == Timestamp(seconds: 1_514_944_800))
        #expect(try manifest(created: "\"1642994594\"").createdAt == Timestamp(seconds: 1_642_994_594))
        #expect(try manifest(created: "1642994594").createdAt == Timestamp(seconds: 1_642_994_594))
    }

    @Test("columns are found by their names, in the report's own order")
    func columns() throws {
        let oss = "Bucket, Key, Size, StorageClass, LastModifiedDate, ETag, IsMultipartUploaded, Crc64"
        let columns = try manifest(schema: oss).columns
        #expect(columns.count == 8 && columns.key == 1 && columns.sizeBytes == 2 && columns.storageClass == 3)
        #expect(columns.modified == 4 && columns.etag == 5 && columns.isLatest == nil)
    }

    @Test("digits of a file's MD5 may be of either case")
    func files() throws {
        let file = #"[{"key": "data/x.csv.gz", "size": 2046, "MD5checksum": "F77449179760C3B13F1E76110F0700AA"}]"#
        let files = try manifest(files: file).files
        #expect(files.map(\.key) == [ObjectKey("data/x.csv.gz")])
        #expect(files.map(\.sizeBytes) == [2046])
        #expect(files.map(\.md5) == ["f77449179760c3b13f1e76110f0700aa"])
    }

    @Test("what cannot be used is named")
    func refused() {
        func reason(_ body: () throws -> InventoryManifest) -> String {
            do {
                _ = try body()
                return ""
            } catch {
                return (error as? InventoryProblem)?.reason ?? ""
            }
        }
        #expect(reason { try InventoryManifest(Array("{".utf8)) }.contains("no JSON"))
        #expect(reason { try InventoryManifest(Array("{}".utf8)) }.contains("fileSchema"))
        #expect(reason { try manifest(format: "Parquet") }.contains("Parquet"))
        #expect(reason { try manifest(schema: "Bucket, Key, Size, LastModifiedDate") }.contains("no ETag"))
        #expect(reason { try manifest(files: #"[{"key": "x", "size": 1}]"#) }.contains("MD5checksum"))
        #expect(reason { try manifest(created: "\"yesterday\"") }.contains("creationTimestamp"))
    }

    @Test("a report is named by key, by prefix, or in another bucket of the dialect")
    func locations() throws {
        func location(_ text: String) -> (bucket: String?, key: ObjectKey, isPrefix: Bool)? {
            InventoryLocation(text, in: .s3).map { ($0.bucket, $0.key, $0.isPrefix) }
        }
        #expect(try #require(location("a/manifest.json")) == (nil, ObjectKey("a/manifest.json"), false))
        #expect(try #require(location("a/b")) == (nil, ObjectKey("a/b/"), true))
        #expect(try #require(location("s3://other/x/")) == ("other", ObjectKey("x/"), true))
        #expect(try #require(location("s3://other")) == ("other", .empty, true))
        #expect(location("oss://other/x") == nil)
        #expect(location("") == nil && location("s3://") == nil)
    }
}
