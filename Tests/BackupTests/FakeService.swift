import HTTP
import Logging
import ObjectStore
import Synchronization
import ThawCore
import ThawTesting
import Wire

@testable import Backup

let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }
let secret = Credentials(accessKeyID: "AK", secretAccessKey: "testsecret", sessionToken: "TOKEN")
/// Fri, 02 Jan 2026 03:04:05 GMT
let instant = Timestamp(seconds: 1_767_323_045)

/// Cloud Backup as far as restore jobs go, with failures that a test scripts.
final class FakeService: Transport {
    struct Job: Sendable {
        var id: String
        var parameters: [String: String]
        var created = instant
        var status = "RUNNING"
        var progress = 5000
        var error = ""
        var errorFile = ""
    }

    enum Failure: Sendable {
        case reply(Int, String, date: Timestamp? = nil)
        /// What was asked is done, and nobody hears of it.
        case lost
        case failed(HTTPError)
    }

    struct State: Sendable {
        var jobs: [Job] = []
        var requests: [(action: String, parameters: [String: String], request: HTTPRequest)] = []
        /// By action; the first strikes first.
        var failures: [String: [Failure]] = [:]
        var knowsJobIDs = true
        var snapshots = ["s-1": "hash-1"]
        /// Of jobs that are made; `.epoch` is told as none.
        var created = instant
        /// By action: holds what is asked before it is taken in.
        var gates: [String: Gate] = [:]
    }

    let state = Mutex(State())

    func count(_ action: String) -> Int { state.withLock { $0.requests.count { $0.action == action } } }
    func parameters(_ action: String) -> [[String: String]] {
        state.withLock { $0.requests.filter { $0.action == action }.map(\.parameters) }
    }
    func fail(_ action: String, _ failures: Failure...) { state.withLock { $0.failures[action] = failures } }
    func setAll(_ change: (inout Job) -> Void) {
        state.withLock { state in for index in state.jobs.indices { change(&state.jobs[index]) } }
    }

    func perform(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(HTTPError) -> HTTPResponse {
        let action = request.headers.first { $0.name == "x-acs-action" }?.value ?? ""
        let query = request.url.split(separator: "?", maxSplits: 1).dropFirst().first.map(String.init) ?? ""
        let form: [UInt8] = if case .bytes(let bytes) = request.body { bytes } else { [] }
        let items = ([QueryItem](wire: query) ?? []) + ([QueryItem](wire: String(decoding: form, as: UTF8.self)) ?? [])
        let parameters = Dictionary(items.map { ($0.name, $0.text) }, uniquingKeysWith: { $1 })
        await state.withLock { $0.gates[action] }?.pass()
        let (failure, reply) = state.withLock { state -> (Failure?, JSON) in
            state.requests.append((action, parameters, request))
            let failure = state.failures[action]?.isEmpty == false ? state.failures[action]?.removeFirst() : nil
            if let failure { guard case .lost = failure else { return (failure, [:]) } }
            return (failure, Self.answer(action, parameters, &state))
        }
        switch failure {
        case .reply(let status, let body, let date):
            let headers = date.map { [(name: "date", value: WireDate.rfc1123($0))] } ?? []
            return HTTPResponse(head: HTTPResponseHead(status: status, headers: headers), body: Array(body.utf8))
        case .lost: throw .broken("cut")
        case .failed(let error): throw error
        case nil: return HTTPResponse(head: HTTPResponseHead(status: 200, headers: []), body: Array(reply.text.utf8))
        }
    }

    private static func answer(_ action: String, _ parameters: [String: String], _ state: inout State) -> JSON {
        switch action {
        case "CreateRestoreJob":
            let job = Job(id: "r-\(state.jobs.count + 1)", parameters: parameters, created: state.created)
            state.jobs.append(job)
            return ["Success": true, "RequestId": "REQ", "RestoreId": .string(job.id)]
        case "CancelRestoreJob":
            for index in state.jobs.indices where state.jobs[index].id == parameters["RestoreId"] {
                state.jobs[index].status = "CANCELED"
            }
            return ["Success": true]
        case "SearchHistoricalSnapshots":
            let found = state.snapshots.map { id, hash -> JSON in
                ["SnapshotId": .string(id), "SnapshotHash": .string(hash), "Status": "COMPLETE"]
            }
            return ["Success": true, "TotalCount": JSON(found.count), "Snapshots": ["Snapshot": .array(found)]]
        default:
            let values = (1...9).compactMap { parameters["Filters.1.Values.\($0)"] }
            let found = state.jobs.filter { job in
                switch parameters["Filters.1.Key"] {
                case "JobId": state.knowsJobIDs && values.contains(job.id)
                case "VaultId": values.contains(job.parameters["VaultId"] ?? "")
                default: true
                }
            }
            let page = Int(parameters["PageNumber"] ?? "1") ?? 1, size = Int(parameters["PageSize"] ?? "10") ?? 10
            return [
                "Success": true, "TotalCount": JSON(found.count),
                "RestoreJobs": ["RestoreJob": .array(found.dropFirst((page - 1) * size).prefix(size).map(\.json))],
            ]
        }
    }
}

extension FakeService.Job {
    fileprivate var json: JSON {
        var members: [String: JSON] = parameters.mapValues { .string($0) }
        members["RestoreId"] = .string(id)
        members["Status"] = .string(status)
        members["Progress"] = JSON(progress)
        members["CreatedTime"] = JSON(created.seconds)
        members["ErrorMessage"] = .string(error)
        members["ErrorFile"] = .string(errorFile)
        return .object(members)
    }
}

func client(_ service: FakeService, now: Timestamp = instant) throws -> BackupClient {
    BackupClient(
        try Endpoint("https://hbr.example"), credentials: FixedCredentials(secret), transport: service, logger: quiet,
        clock: { now }, sleep: { _ in })
}

func wish(_ include: [String] = [], prefix: String = "p/") -> SnapshotRestore {
    SnapshotRestore(vault: "v-1", snapshot: "s-1", target: .bucket("tb", prefix: prefix), include: include)
}

func errorBody(_ code: String) -> String { "{\"Code\":\"\(code)\",\"Message\":\"words\",\"RequestId\":\"REQ\"}" }
