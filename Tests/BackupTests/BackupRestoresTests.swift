import HTTP
import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting

@testable import Backup

/// A mount's restores from backups over a service that a test steers, whose rests are over at once.
private final class Follower: Sendable {
    let directory: TemporaryDirectory
    let service: FakeService
    let restores: BackupRestores
    let arrivals = Mutex<[ObjectKey]>([])

    init(_ service: FakeService = FakeService(), in directory: TemporaryDirectory? = nil) throws {
        let directory = try directory ?? TemporaryDirectory()
        self.directory = directory
        self.service = service
        let writer = try MetadataWriter(
            path: directory.path + "/db", executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        let reference = WeakReference<Follower>()
        restores = BackupRestores(
            client: try client(service), bucket: "tb", writer: writer, log: quiet,
            sleep: { _ throws(CancellationError) in await Task.yield() },
            arrived: { prefix in reference.value?.arrivals.withLock { $0.append(prefix) } })
        reference.value = self
    }

    func text(_ prefix: String = "d/") async -> String? {
        await restores.standing(of: ObjectKey(prefix)).map { "\($0)" }
    }
}

private let plain = "from=hbr:v-1/s-1"

@Suite("restores from backups into a directory")
struct BackupRestoresTests {
    @Test("a wish becomes one job, which is followed to its end, and then the directory is looked at anew")
    func followed() async throws {
        let follower = try Follower()
        try await follower.restores.begin(try BackupWish(parsing: plain + ",include=/a"), below: ObjectKey("d/"))
        #expect(await eventually { await follower.text() == "backup=running progress=50%" })
        let sent = try #require(follower.service.parameters("CreateRestoreJob").first)
        #expect(sent["TargetBucket"] == "tb" && sent["TargetPrefix"] == "d/" && sent["Include"] == "[\"/a\"]")
        // Once more the same is no news; something else has to wait.
        try await follower.restores.begin(try BackupWish(parsing: plain + ",include=/a"), below: ObjectKey("d/"))
        await #expect(throws: BackupRefusal.busy) {
            try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        }
        follower.service.setAll { $0.status = "COMPLETE" }
        #expect(await eventually { await follower.text() == "backup=complete" })
        #expect(await eventually { follower.arrivals.withLock { $0 } == [ObjectKey("d/")] })
        #expect(follower.service.count("CreateRestoreJob") == 1)
        #expect(await follower.text("other/") == nil)
    }

    @Test("how it ended is shown, with what the service says of it", arguments: [
        ("PARTIAL_COMPLETE", "", "r-1/errors.csv", "backup=partial error_file=r-1/errors.csv"),
        ("FAILED", "no room", "", "backup=failed error=no room"), ("EXPIRED", "", "", "backup=failed error=EXPIRED"),
        ("CANCELED", "", "", "backup=cancelled"),
    ])
    func ended(status: String, error: String, errorFile: String, text: String) async throws {
        let follower = try Follower()
        try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        #expect(await eventually { follower.service.count("CreateRestoreJob") == 1 })
        follower.service.setAll { ($0.status, $0.error, $0.errorFile) = (status, error, errorFile) }
        #expect(await eventually { await follower.text() == text })
        // The next mount knows it as well: what is told of afterwards is on the disk.
        #expect(await eventually { follower.arrivals.withLock { !$0.isEmpty } })
        let next = try Follower(follower.service, in: follower.directory)
        try await next.restores.resume()
        #expect(await next.text() == text)
        #expect(try await next.restores.cancel(below: ObjectKey("d/")))
        #expect(await next.text() == nil)
        #expect(try await !next.restores.cancel(below: ObjectKey("d/")))
    }

    @Test("what the service refuses is shown with its code, and asked for once")
    func refused() async throws {
        let follower = try Follower()
        follower.service.fail("CreateRestoreJob", .reply(404, errorBody("VaultNotExist")))
        try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        let text = "backup=failed error=VaultNotExist: words (HTTP 404, request id REQ)"
        #expect(await eventually { await follower.text() == text })
        #expect(follower.service.count("CreateRestoreJob") == 1)
    }

    @Test("a mount that ended before the job's id was known finds the job, and makes no other")
    func crashed() async throws {
        let service = FakeService()
        do {
            let follower = try Follower(service)
            // The daemon dies while it waits for the reply: the job is made.
            service.fail("CreateRestoreJob", .failed(.cancelled))
            try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
            #expect(await eventually { service.count("CreateRestoreJob") == 1 })
            service.state.withLock { state in
                let parameters = state.requests.last { $0.action == "CreateRestoreJob" }?.parameters ?? [:]
                state.jobs = [FakeService.Job(id: "r-9", parameters: parameters, status: "COMPLETE")]
            }
            let next = try Follower(service, in: follower.directory)
            try await next.restores.resume()
            #expect(await eventually { await next.text() == "backup=complete" })
        }
        #expect(service.count("CreateRestoreJob") == 1)
    }

    @Test("cancelling cancels the job, and what was not made yet is not made")
    func cancelled() async throws {
        let follower = try Follower()
        try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        #expect(await eventually { await follower.text() == "backup=running progress=50%" })
        #expect(try await follower.restores.cancel(below: ObjectKey("d/")))
        #expect(await eventually { await follower.text() == "backup=cancelled" })
        #expect(follower.service.parameters("CancelRestoreJob").map { $0["RestoreId"] } == ["r-1"])
    }

    @Test("what is cancelled while its job is being prepared is not made", arguments: [
        "DescribeRestoreJobs2", "SearchHistoricalSnapshots",
    ])
    func cancelledEarly(held: String) async throws {
        let follower = try Follower()
        let gate = Gate()
        follower.service.state.withLock { $0.gates[held] = gate }
        try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        #expect(await eventually { gate.waiting == 1 })
        #expect(try await follower.restores.cancel(below: ObjectKey("d/")))
        gate.open()
        #expect(await eventually { await follower.text() == "backup=cancelled" })
        #expect(follower.service.count("CreateRestoreJob") == 0)
    }

    @Test("what is cancelled between two attempts to make its job is not made")
    func cancelledBetween() async throws {
        let follower = try Follower()
        let gate = Gate()
        follower.service.state.withLock { $0.gates["CreateRestoreJob"] = gate }
        follower.service.fail("CreateRestoreJob", .reply(429, errorBody("Throttling")))
        try await follower.restores.begin(try BackupWish(parsing: plain), below: ObjectKey("d/"))
        #expect(await eventually { gate.waiting == 1 })
        #expect(try await follower.restores.cancel(below: ObjectKey("d/")))
        gate.open()
        #expect(await eventually { await follower.text() == "backup=cancelled" })
        #expect(follower.service.count("CreateRestoreJob") == 1 && follower.service.state.withLock { $0.jobs.isEmpty })
    }

    @Test("paths that do not fit into one job become several, of which the last decides")
    func several() async throws {
        let follower = try Follower()
        let paths = (1...4).map { ",include=/\($0)" + String(repeating: "x", count: 200) }.joined()
        try await follower.restores.begin(try BackupWish(parsing: plain + paths), below: ObjectKey("d/"))
        #expect(await eventually { await follower.text() == "backup=running progress=50%" })
        #expect(follower.service.count("CreateRestoreJob") == 4)
        follower.service.state.withLock { $0.jobs[0].status = "PARTIAL_COMPLETE" }
        #expect(await eventually { await follower.text() == "backup=running progress=62%" })
        follower.service.setAll { if $0.status == "RUNNING" { $0.status = "COMPLETE" } }
        #expect(await eventually { await follower.text() == "backup=partial" })
    }
}
