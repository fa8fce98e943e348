import HTTP
import Synchronization
import Testing
import ThawCore
import Wire

@testable import Backup

@Suite("Cloud Backup's client")
struct BackupClientTests {
    @Test("a request is signed over its query and form, and carries the token")
    func signed() async throws {
        let service = FakeService()
        _ = try await client(service).obtain(wish(["/a b"])) { _ in false }
        let (_, parameters, request) = try #require(service.state.withLock { state in
            state.requests.first { $0.action == "CreateRestoreJob" }
        })
        #expect(request.url.hasPrefix("https://hbr.example/?RestoreType=OSS&SourceType=OSS&VaultId=v-1&"))
        #expect(parameters["TargetPrefix"] == "p/" && parameters["SnapshotHash"] == "hash-1")
        #expect(parameters["Include"] == "[\"/a b\"]" && !request.url.contains("Include"))
        let header = Dictionary(request.headers.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
        #expect(header["x-acs-date"] == "2026-01-02T03:04:05Z" && header["x-acs-security-token"] == "TOKEN")
        let claim = try #require(ACS3Signature.claim(authorization: header["authorization"] ?? ""))
        let query = request.url.split(separator: "?").last.map(String.init) ?? ""
        let signable = SignableRequest(
            method: "POST", bucket: nil, query: try #require([QueryItem](wire: query)),
            headers: request.headers + [("host", "hbr.example")])
        #expect(claim.signedHeaders.contains("x-acs-security-token") && claim.signedHeaders.contains("content-type"))
        #expect(
            claim.signature
                == ACS3Signature.signature(signable, secret: "testsecret", signedHeaders: claim.signedHeaders))
    }

    @Test("throttling and failures that pass are asked again, with a nonce of its own each time", arguments: [
        .reply(429, errorBody("Throttling.User")), .reply(400, errorBody("Throttling")),
        .reply(503, errorBody("ServiceUnavailable")), .reply(502, "<html>"), .failed(.timeout("slow")), .lost,
        .reply(200, "no JSON"),
    ] as [FakeService.Failure])
    func retried(failure: FakeService.Failure) async throws {
        let service = FakeService()
        service.fail("DescribeRestoreJobs2", failure, failure)
        #expect(try await client(service).jobs(.oss).isEmpty)
        let nonces = service.state.withLock { state in
            state.requests.compactMap { $0.request.headers.first { $0.name == "x-acs-signature-nonce" }?.value }
        }
        #expect(nonces.count == 3 && Set(nonces).count == 3)
    }

    @Test("a refusal has the service's code and request id, also with status 200", arguments: [
        (404, errorBody("VaultNotExist"), .notFound, "VaultNotExist"),
        (403, errorBody("NoPermission"), .denied, "NoPermission"),
        (400, errorBody("BadRequest"), .invalid, "BadRequest"),
        (200, "{\"Success\":false,\"Code\":\"InDebt\",\"Message\":\"words\",\"RequestId\":\"REQ\"}", .denied, "InDebt"),
    ] as [(Int, String, BackupError.Kind, String)])
    func refused(status: Int, body: String, kind: BackupError.Kind, code: String) async throws {
        let service = FakeService()
        service.fail("DescribeRestoreJobs2", .reply(status, body))
        let error = await #expect(throws: BackupError.self) { try await client(service).jobs(.oss) }
        #expect(error?.kind == kind && error?.code == code && error?.requestID == "REQ" && error?.status == status)
        #expect(service.count("DescribeRestoreJobs2") == 1)
    }

    @Test("a clock that is off is corrected by the service's date")
    func clock() async throws {
        let service = FakeService()
        let client = try client(service)
        service.fail(
            "DescribeRestoreJobs2", .reply(400, errorBody("InvalidTimeStamp.Expired"), date: instant + .seconds(7200)))
        #expect(try await client.jobs(.oss).isEmpty)
        #expect(client.now == instant + .seconds(7200))
    }

    @Test("jobs come from all pages, the newest first")
    func pages() async throws {
        let service = FakeService()
        service.state.withLock { state in
            state.jobs = (1...150).map {
                FakeService.Job(id: "r-\($0)", parameters: ["VaultId": "v-1"], created: instant + .seconds($0))
            }
        }
        let jobs = try await client(service).jobs(.oss, vault: "v-1")
        #expect(jobs.count == 150 && jobs.first?.id == "r-150" && service.count("DescribeRestoreJobs2") == 2)
    }

    @Test("a job that the filter by id does not find is looked for in its vault", arguments: [true, false])
    func filtered(knowsJobIDs: Bool) async throws {
        let service = FakeService()
        service.state.withLock { state in
            state.knowsJobIDs = knowsJobIDs
            state.jobs = ["r-1", "r-2"].map { FakeService.Job(id: $0, parameters: ["VaultId": "v-1"]) }
        }
        let found = try await client(service).jobs(["r-2"], .oss, vault: "v-1")
        #expect(found.map(\.id) == ["r-2"] && found.first?.progress == 0.5)
        #expect(service.count("DescribeRestoreJobs2") == (knowsJobIDs ? 1 : 2))
    }
}

@Suite("making restore jobs")
struct ObtainTests {
    @Test("one that is there is taken; what was made for something else is not")
    func adopted() async throws {
        let service = FakeService()
        let client = try client(service)
        let first = try await client.obtain(wish()) { !$0.status.hasFailed }
        #expect(first == BackupClient.ObtainedJob(id: "r-1", isNew: true))
        #expect(try await client.obtain(wish()) { !$0.status.hasFailed }.isNew == false)
        var others = [wish(["/a"]), wish(prefix: "q/")]
        others.append(SnapshotRestore(vault: "v-1", snapshot: "s-2", target: .bucket("tb", prefix: "p/")))
        others.append(SnapshotRestore(vault: "v-1", snapshot: "s-1", target: .bucket("other", prefix: "p/")))
        for other in others { #expect(try await client.obtain(other) { !$0.status.hasFailed }.isNew) }
        #expect(service.count("CreateRestoreJob") == 5)
        service.setAll { $0.status = "FAILED" }
        #expect(try await client.obtain(wish()) { !$0.status.hasFailed }.isNew)
    }

    @Test("a reply that was lost leaves one job, which is found", arguments: [
        .lost, .failed(.timeout("slow")), .reply(500, errorBody("InternalError")),
        .reply(400, errorBody("SignatureNonceUsed")),
    ] as [FakeService.Failure])
    func lost(failure: FakeService.Failure) async throws {
        let service = FakeService()
        // An earlier one that did the same is not taken for it.
        service.state.withLock { state in
            let same = Dictionary((wish().query + wish().form).map { ($0.name, $0.text) }, uniquingKeysWith: { $1 })
            state.jobs = [FakeService.Job(id: "r-1", parameters: same, status: "COMPLETE")]
        }
        service.fail("CreateRestoreJob", failure)
        let job = try await client(service).obtain(wish()) { _ in false }
        #expect(job == BackupClient.ObtainedJob(id: "r-2", isNew: true))
        #expect(service.state.withLock { $0.jobs.count } == 2)
        let wasDone = if case .lost = failure { true } else { false }
        #expect(service.count("CreateRestoreJob") == (wasDone ? 1 : 2))
        #expect(service.count("DescribeRestoreJobs2") == (wasDone ? 2 : 4))
    }

    @Test("a job that does not say when it was created, and was not there before, is the one whose reply was lost")
    func undated() async throws {
        let service = FakeService()
        service.state.withLock { $0.created = .epoch }
        service.fail("CreateRestoreJob", .lost)
        #expect(try await client(service).obtain(wish()) { _ in false }.id == "r-1")
        #expect(service.count("CreateRestoreJob") == 1)
    }

    @Test("a job is asked for over a connection of its own")
    func sentOnce() async throws {
        let service = FakeService()
        _ = try await client(service).obtain(wish()) { _ in false }
        for (action, _, request) in service.state.withLock({ $0.requests }) {
            #expect(request.isSentOnce == (action == "CreateRestoreJob"))
        }
    }

    @Test("throttling creates it once more; a refusal is final")
    func refused() async throws {
        let service = FakeService()
        service.fail("CreateRestoreJob", .reply(429, errorBody("Throttling")))
        #expect(try await client(service).obtain(wish()) { _ in false }.id == "r-1")
        service.fail("CreateRestoreJob", .reply(404, errorBody("VaultNotExist")))
        let error = await #expect(throws: BackupError.self) { try await client(service).obtain(wish()) { _ in false } }
        #expect(error?.code == "VaultNotExist" && service.count("CreateRestoreJob") == 3)
    }

    @Test("a snapshot that the search does not show is asked for without its hash")
    func withoutHash() async throws {
        let service = FakeService()
        service.state.withLock { $0.snapshots = [:] }
        #expect(try await client(service).obtain(wish()) { _ in false }.isNew)
        service.fail("SearchHistoricalSnapshots", .reply(400, errorBody("BadRequest")))
        #expect(try await client(service).obtain(wish()) { _ in false }.isNew)
        #expect(service.parameters("CreateRestoreJob").allSatisfy { $0["SnapshotHash"] == nil })
    }
}

@Suite("what a restore job is asked for")
struct SnapshotRestoreTests {
    @Test("paths are spread over as many jobs as their length takes, the same for the same paths")
    func parts() throws {
        let paths = (1...20).map { "/directory \($0)/" + String(repeating: "ü", count: 40) }
        let parts = try wish(paths).parts()
        #expect(parts.count == 5 && parts.flatMap(\.include) == paths.sorted())
        for part in parts { #expect((SnapshotRestore.text(part.include) ?? "").utf16.count <= 255) }
        #expect(try wish(paths.reversed() + paths).parts() == parts)
        #expect(try wish().parts() == [wish()])
        // Two quotes and two brackets belong to the length.
        let longest = String(repeating: "a", count: 251)
        #expect(try wish([longest, "/b"]).parts().count == 2)
        _ = #expect(throws: BackupError.self) { try wish([longest + "a"]).parts() }
        let excluding = SnapshotRestore(vault: "v", snapshot: "s", target: .bucket("b", prefix: ""), exclude: paths)
        _ = #expect(throws: BackupError.self) { try excluding.parts() }
    }

    @Test("each kind of target has its parameters")
    func targets() {
        func parameters(_ target: SnapshotRestore.Target) -> [String: String] {
            var wish = SnapshotRestore(vault: "v", snapshot: "s", target: target)
            wish.account = SnapshotRestore.ForeignAccount(userID: "1", role: "R")
            return Dictionary((wish.query + wish.form).map { ($0.name, $0.text) }, uniquingKeysWith: { $1 })
        }
        let bucket = parameters(.bucket("b", prefix: ""))
        #expect(bucket["RestoreType"] == "OSS" && bucket["SourceType"] == "OSS" && bucket["TargetPrefix"] == "")
        #expect(bucket["CrossAccountType"] == "CROSS_ACCOUNT" && bucket["CrossAccountUserId"] == "1")
        #expect(bucket["CrossAccountRoleName"] == "R" && bucket["Include"] == nil)
        let instance = parameters(.instance("i-1", path: "/d"))
        #expect(instance["RestoreType"] == "ECS_FILE" && instance["TargetInstanceId"] == "i-1")
        #expect(instance["TargetPath"] == "/d")
        let system = parameters(.fileSystem("005494", createdAt: 1_554_347_313))
        #expect(system["RestoreType"] == "NAS" && system["TargetFileSystemId"] == "005494")
        #expect(system["TargetCreateTime"] == "1554347313")
    }
}
