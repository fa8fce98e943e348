import NIOHTTP1
import Testing
import ThawCore

@testable import Emulator

@Suite struct ControlTests {
    private func request(_ method: HTTPMethod, _ uri: String) throws -> (StoreRequest, Emulator.Operation) {
        let head = HTTPRequestHead(
            version: .http1_1,
            method: method,
            uri: uri,
            headers: ["Host": "127.0.0.1:9000"]
        )
        let request = try StoreRequest(head, id: "1", domain: "store.example")
        return (request, Operation(request))
    }

    private func rule(_ text: String) throws -> FaultRule {
        try #require(JSON(Array(text.utf8)).flatMap { FaultRule($0) })
    }

    @Test("a fault strikes what it names, as often as it says")
    func faults() throws {
        let faults = Faults()
        faults.add([try rule(#"{"op": "GetObject", "key": "a/*", "times": 2, "effect": {"status": 503}}"#)])
        let (hit, get) = try request(.GET, "/bkt/a/b/c")
        let (miss, _) = try request(.GET, "/bkt/b")
        #expect(faults.strike(miss, get).error == nil)
        #expect(faults.strike(hit, .headObject).error == nil)
        #expect(faults.strike(hit, get).error?.status == 503)
        #expect(faults.strike(hit, get).error?.code == "SlowDown")
        #expect(faults.strike(hit, get).error == nil)
    }

    @Test("keys are numbered by their pattern")
    func patterns() {
        #expect(KeyPattern("d/{d}/f{i:6}.bin").key(12_345) == ObjectKey("d/12/f012345.bin"))
        #expect(KeyPattern("{i}").key(7) == ObjectKey("7"))
        #expect(KeyPattern("plain{x}").key(7) == ObjectKey("plain{x}"))
    }

    @Test(
        "bucket and key come from the path, or from the host and the path",
        arguments: [
            ("127.0.0.1:9000", "/bkt/a%2Fb/c+d", "bkt", "a/b/c+d"), ("127.0.0.1", "/bkt", "bkt", ""),
            ("127.0.0.1", "/bkt/", "bkt", ""), ("localhost:9000", "/", nil, ""),
            ("bkt.localhost:9000", "/a", "bkt", "a"),
            ("bkt.store.example", "//x", "bkt", "/x"), ("store.example", "/bkt/%00", "bkt", "\u{0}"),
            ("[::1]:9000", "/bkt/k", "bkt", "k"),
        ] as [(String, String, String?, String)]
    )
    func addressing(host: String, uri: String, bucket: String?, key: String) throws {
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: uri, headers: ["Host": host])
        let request = try StoreRequest(head, id: "1", domain: "store.example")
        #expect(request.bucketName == bucket)
        #expect(request.key == ObjectKey(key))
    }

    @Test(
        "operations are told by method and sub-resource",
        arguments: [
            (.GET, "/", .listBuckets), (.GET, "/b?list-type=2&prefix=", .listObjectsV2),
            (.GET, "/b?marker=", .listObjects),
            (.GET, "/b/?versions", .listObjectVersions), (.POST, "/b?delete", .deleteObjects),
            (.POST, "/b/k?restore", .restoreObject), (.POST, "/b/k?restore=&versionId=1", .restoreObject),
            (.PUT, "/b/k?partNumber=1&uploadId=2", .uploadPart),
            (.POST, "/b/k?uploads", .createMultipartUpload),
            (.GET, "/b/k?uploadId=2", .listParts), (.HEAD, "/b/k?objectMeta", .getObjectMeta),
            (.GET, "/b/k?acl", .unsupported), (.PATCH, "/b/k", .unsupported), (.PUT, "/", .unsupported),
        ] as [(HTTPMethod, String, Emulator.Operation)]
    )
    func operations(method: HTTPMethod, uri: String, operation: Emulator.Operation) throws {
        #expect(try request(method, uri).1 == operation)
    }

    @Test("a plus in a query is a blank, in a path a plus")
    func plus() throws {
        let (request, _) = try request(.GET, "/b/a+b?prefix=a+b%2Bc")
        #expect(request.parameter("prefix") == "a b+c")
        #expect(request.key == ObjectKey("a+b"))
    }
}
