import ArgumentParser
import HTTP
import Logging
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Backup
@testable import Vaults
@testable import thawfs

/// A service that answers every request as the test has it at the time.
private final class Answers: Transport {
    enum Answer: Sendable {
        case reply(Int, JSON)
        /// None until whoever waits is cancelled.
        case held
    }

    let now: Mutex<Answer>
    let gate = Gate()

    init(_ now: Answer) { self.now = Mutex(now) }

    func perform(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(HTTPError) -> HTTPResponse {
        guard case .reply(let status, let body) = now.withLock({ $0 }) else {
            await gate.pass()
            throw .cancelled
        }
        return HTTPResponse(head: HTTPResponseHead(status: status, headers: []), body: Array(body.text.utf8))
    }
}

private let credentials = FixedCredentials(Credentials(accessKeyID: "AK", secretAccessKey: "testsecret"))

@Suite("watching restores from backups")
struct BackupWatchTests {
    private static func listing(_ status: String?) -> Answers.Answer {
        let job = status.map { JSON.object(["RestoreId": "r-1", "VaultId": "v-1", "Status": .string($0)]) }
        return .reply(
            200,
            ["Success": true, "TotalCount": JSON(job == nil ? 0 : 1),
             "RestoreJobs": ["RestoreJob": .array(job.map { [$0] } ?? [])]])
    }

    private static func watch(
        _ answers: Answers, areNew: Bool, sleep: @escaping RetryingStore.Sleep
    ) throws -> BackupWatch {
        let client = BackupClient(
            try Endpoint("https://hbr.example"), credentials: credentials, transport: answers,
            logger: Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }, sleep: { _ in })
        return BackupWatch(client: client, vault: "v-1", type: .oss, ids: ["r-1"], areNew: areNew, sleep: sleep)
    }

    @Test("an outage does not end the watching, nor does a new job that is not listed yet")
    func outage() async throws {
        let answers = Answers(Self.listing(nil))
        let coming = Mutex<[Answers.Answer]>([
            .reply(503, ["Code": "ServiceUnavailable"]), Self.listing("RUNNING"),
            .reply(503, ["Code": "ServiceUnavailable"]), Self.listing("COMPLETE"),
        ])
        let watch = try Self.watch(answers, areNew: true) { _ throws(CancellationError) in
            guard let next = coming.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { throw CancellationError() }
            answers.now.withLock { $0 = next }
        }
        let jobs = try await watch.watch(ProgressDisplay(environment: [:]), nil)
        #expect(jobs.map(\.status) == [.complete])
    }

    @Test("a job that is never listed is given up, at once where it should have been there", arguments: [
        (true, 10), (false, 0),
    ])
    func unlisted(areNew: Bool, sleeps: Int) async throws {
        let slept = Mutex(0)
        let watch = try Self.watch(Answers(Self.listing(nil)), areNew: areNew) { _ in slept.withLock { $0 += 1 } }
        await #expect(throws: UsageError.self) {
            try await watch.watch(ProgressDisplay(environment: [:]), nil)
        }
        #expect(slept.withLock { $0 } == sleeps)
    }

    @Test("when nothing was seen before the time is up, the ids are told")
    func timeUp() async throws {
        let watch = try Self.watch(Answers(.reply(503, ["Code": "ServiceUnavailable"])), areNew: true) { _ in }
        let jobs = try await watch.watch(ProgressDisplay(environment: [:]), .zero)
        #expect(jobs.isEmpty && watch.documents(of: jobs) == [["id": "r-1"]])
    }
}

@Suite("watching a vault's job")
struct JobWatchTests {
    @Test("who is interrupted while the store is asked is told that the job goes on")
    func interrupted() async throws {
        let answers = Answers(.held)
        let client = VaultClient(try Endpoint("https://oas.example"), credentials: credentials, transport: answers)
        let vault = OpenVault(client: client, id: "v", region: "", states: [])
        let job = try #require(VaultJob(["JobId": "j-1", "StatusCode": "InProgress"]))
        let watching = Task { try await JobWatch(vault: vault, limit: nil, interval: .zero).watch(job) }
        #expect(await eventually { answers.gate.waiting == 1 })
        watching.cancel()
        let error = await #expect(throws: ExitCode.self) { try await watching.value }
        #expect(error == ExitCode(130))
    }

    @Test("the certificate authorities that ca_file names are those of the vaults' commands")
    func authorities() async throws {
        let options = try VaultOptions.parse(["-o", "region=cn-hangzhou,ca_file=/nowhere/ca.pem"])
        let error = await #expect(throws: UsageError.self) { try await options.open("vault") }
        #expect(error?.description.contains("ca_file=/nowhere/ca.pem") == true)
    }
}
