import ArgumentParser
import Control
import Glibc
import Metadata
import Restore
import ThawCore
import Upload

/// The restores of a mount, as those who ask through the control socket need them.
protocol RestoreDesk: Sendable {
    func begin(_ wish: RestoreWish, target: String, for requester: Requester) async throws(RestoreError) -> Int64
    func add(_ scopes: [RestoreScope], to request: Int64) async throws(RestoreError)
    func commit(_ request: Int64) async throws(RestoreError)
    func abandon(_ request: Int64) async
    func survey(_ wish: RestoreWish, _ scopes: [RestoreScope]) async throws(RestoreError) -> Survey
    func requests() async throws(RestoreError) -> [RequestSummary]
    func request(_ id: Int64) async throws(RestoreError) -> RequestSummary?
    func whoWaits() async -> [WaiterSummary]
    func laneSummaries() async -> [LaneSummary]
}

extension RestoreEngine: RestoreDesk {}

/// What the daemon of a mount answers through its control socket: docs/notes/control.md has the lines.
struct ControlService: Sendable {
    let source: String
    let mountpoint: String
    let restores: any RestoreDesk
    /// What was accepted and is not stored yet, the oldest first.
    private let uploads: @Sendable () async -> [UploadSummary]
    private let figures: @Sendable () -> MountFigures
    /// Makes the daemon end without waiting for those.
    private let leave: @Sendable () -> Void
    /// How often a peer whose answer takes long is told that it is being worked on.
    private let patience: Duration
    private let startedAt = Timestamp.now()
    private static let batchMax = 1000

    init(
        source: String, mountpoint: String, restores: any RestoreDesk,
        uploads: @escaping @Sendable () async -> [UploadSummary], figures: @escaping @Sendable () -> MountFigures,
        leave: @escaping @Sendable () -> Void,
        patience: Duration = .seconds(5)
    ) {
        self.source = source
        self.mountpoint = mountpoint
        self.restores = restores
        self.uploads = uploads
        self.figures = figures
        self.leave = leave
        self.patience = patience
    }

    /// Serves one peer until it hangs up, or asks for something that cannot be had.
    func serve(_ peer: ControlPeer) async {
        do throws(ControlError) {
            while let line = try await peer.nextLine() {
                guard let command = JSON(line), let name = command["command"]?.string else {
                    throw .refused("expected a line of JSON with a command")
                }
                let reply = try await reassuring(peer) { () async throws(ControlError) in
                    try await answer(name, command, peer)
                }
                await peer.send(reply.text)
            }
        } catch {
            await peer.send(JSON.object(["error": JSON("\(error)")]).text)
        }
    }

    private func answer(_ name: String, _ command: JSON, _ peer: ControlPeer) async throws(ControlError) -> JSON {
        do throws(RestoreError) {
            switch name {
            case "status": return try await status()
            case "uploads": return ["mount": mount, "uploads": .array(await uploads().map(\.jsonWithRanges))]
            case "leave":
                leave()
                return ["mount": mount]
            case "request":
                guard let id = command["id"]?.int else { break }
                return ["mount": mount, "request": try await restores.request(Int64(id))?.json ?? .null]
            case "survey":
                let total = try await survey(try wish(command), peer)
                return ["mount": mount, "survey": total.json]
            case "restore":
                let id = try await restore(command, peer)
                return ["mount": mount, "id": JSON(id)]
            default: break
            }
        } catch {
            throw .refused(Self.text(error))
        }
        throw .refused("“\(name)” is no command of this version, or lacks something")
    }

    // MARK: Commands

    private func status() async throws(RestoreError) -> JSON {
        let uploads = await uploads()
        let status: [String: JSON] = [
            "mount": mount, "requests": .array(try await restores.requests().map(\.json)),
            "waiters": .array(await restores.whoWaits().map(\.json)),
            "lanes": .array(await restores.laneSummaries().map(\.json)),
            "uploads": .array(uploads.map(\.json)), "upload_totals": UploadProgress(uploads).json,
        ]
        return .object(status.merging(figures().members) { status, _ in status })
    }

    private var mount: JSON {
        [
            "source": JSON(source), "mountpoint": JSON(mountpoint), "version": JSON(Thawfs.configuration.version),
            "pid": JSON(getpid()), "started": JSON(startedAt),
            "uptime_seconds": JSON((Timestamp.now() - startedAt).components.seconds),
        ]
    }

    private func wish(_ command: JSON) throws(RestoreError) -> RestoreWish {
        let (days, tier) = (command["days"] ?? .null, command["tier"] ?? .null)
        let wish = RestoreWish(days: days.int, tier: tier.tier)
        guard days == .null || wish.days ?? 0 > 0 else { throw .invalidOrder("days: a whole number, at least 1") }
        guard tier == .null || wish.tier != nil else { throw .invalidOrder("tier: Expedited, Standard or Bulk") }
        return wish
    }

    private func survey(_ wish: RestoreWish, _ peer: ControlPeer) async throws(RestoreError) -> Survey {
        var total = Survey()
        try await eachBatch(from: peer) { scopes throws(RestoreError) in
            total.add(try await restores.survey(wish, scopes))
        }
        return total
    }

    private func restore(_ command: JSON, _ peer: ControlPeer) async throws(RestoreError) -> Int64 {
        let requester = Requester(.command, command["requester"]?.string ?? "unknown")
        let id = try await restores.begin(
            try wish(command), target: command["target"]?.string ?? "unknown", for: requester)
        do throws(RestoreError) {
            try await eachBatch(from: peer) { scopes throws(RestoreError) in try await restores.add(scopes, to: id) }
            try await restores.commit(id)
            return id
        } catch {
            await restores.abandon(id)
            throw error
        }
    }

    /// Takes the scopes that follow a command, up to the line that ends them.
    private func eachBatch(
        from peer: ControlPeer, _ take: ([RestoreScope]) async throws(RestoreError) -> Void
    ) async throws(RestoreError) {
        var batch: [RestoreScope] = []
        while true {
            let line: [UInt8]?
            do throws(ControlError) { line = try await peer.nextLine() } catch {
                throw .invalidOrder("\(error)")
            }
            guard let line else { throw .interrupted }
            guard let json = JSON(line) else { throw .invalidOrder("a line is no JSON") }
            if json["end"]?.bool == true { break }
            guard let scope = RestoreScope(json) else { throw .invalidOrder("a line names no key: \(json.text)") }
            batch.append(scope)
            if batch.count == Self.batchMax {
                try await take(batch)
                batch = []
            }
        }
        if !batch.isEmpty { try await take(batch) }
    }

    // MARK: Answers

    /// Does what takes its time, and meanwhile lets the peer know that it is not forgotten.
    private func reassuring(
        _ peer: ControlPeer, _ work: () async throws(ControlError) -> JSON
    ) async throws(ControlError) -> JSON {
        let ticker = Task {
            while (try? await Task.sleep(for: patience)) != nil { await peer.send("{\"working\":true}") }
        }
        let result: Result<JSON, ControlError>
        do throws(ControlError) { result = .success(try await work()) } catch { result = .failure(error) }
        ticker.cancel()
        await ticker.value
        return try result.get()
    }

    private static func text(_ error: RestoreError) -> String {
        switch error {
        case .notArchived: "the class needs no restore"
        case .invalidOrder(let text), .failed(let text): text
        case .timedOut: "the wait ran out"
        case .interrupted: "the mount is stopping"
        case .gone: "there is no such object"
        case .cancelled: "the restore was cancelled"
        case .overBudget: "restore_budget is used up"
        case .nothingToCancel: "there is nothing to cancel"
        case .store(let error): "\(error)"
        case .notRemembered(let text): "the queue cannot be written: \(text)"
        }
    }
}
