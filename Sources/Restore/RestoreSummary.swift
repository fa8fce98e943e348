package import Metadata
package import ObjectStore
package import ThawCore
package import Wire

/// Where an object of a request stands, as people are told.
package enum RestoreStage: String, Sendable, CaseIterable {
    case queued, restoring, restored, failed, cancelled
}

package struct RequestSummary: Sendable {
    package var id: Int64
    package var origin: RestoreOrigin
    /// Who: `cat[123] uid 0`
    package var requester: String
    /// What: a key, a prefix, a number of files.
    package var target: String
    /// As wished, before any class had its say.
    package var wish: RestoreWish
    package var createdAt: Timestamp
    package var finishedAt: Timestamp?
    /// Its objects are still being looked for.
    package var isCollecting: Bool
    package var tallies: [RestoreStage: Tally]
    /// When the slowest of its objects is documented to be ready; nil while some have not been asked for.
    package var eta: Timestamp?
    /// The last failure, with the provider's code.
    package var error: String?
    /// Not everything was looked through: `error` says why.
    package var isIncomplete = false
}

package struct WaiterSummary: Sendable {
    package var key: ObjectKey
    package var version: String?
    package var caller: String
    package var since: Timestamp
}

package struct LaneSummary: Sendable {
    package var name: String
    /// The rate that it goes at now; less than the provider's limit when the provider asked for that.
    package var perSecond: Double
    package var perSecondMax: Double
    /// Counted where the provider has a ceiling.
    package var bytesToday: UInt64
    package var bytesPerDay: UInt64?
    package var pauseReason: String?
}

/// What a wish would come to, by class and what would be asked for.
package struct Survey: Sendable {
    package struct Row: Sendable {
        package var storageClass: StorageClass
        package var order: RestoreOrder
        /// To be asked for: frozen, or a copy that is to last longer.
        package var frozen = Tally()
        package var extended = Tally()
        package var restoring = Tally()
        package var restored = Tally()
        package var longest: Duration?
    }

    package var rows: [Row] = []
    package var online = Tally()
    /// Single objects that are not there.
    package var missing: [ObjectKey] = []

    package init() {}
}

/// How all that is below a directory stands: the value of its `user.thaw.restore`.
package struct DirectoryCounts: Sendable, CustomStringConvertible {
    package var all = Tally()
    package var frozen = 0
    package var queued = 0
    package var restoring = 0
    package var restored = 0
    package var failed = 0

    package var description: String {
        "objects=\(all.objects) bytes=\(all.bytes) frozen=\(frozen) queued=\(queued) restoring=\(restoring) "
            + "restored=\(restored) failed=\(failed)"
    }
}

extension RequestSummary {
    init(_ count: RequestCount, _ context: ArchiveContext) {
        let request = count.request
        id = request.id
        origin = request.origin
        requester = request.requester
        target = request.target
        wish = RestoreWish(days: request.days, tier: request.tier)
        createdAt = request.createdAt
        finishedAt = request.finishedAt
        isCollecting = request.stage == .collecting
        error = request.error
        isIncomplete = request.isIncomplete
        tallies = [.cancelled: count.cancelled]
        for (state, tally) in count.states {
            let stage: RestoreStage =
                switch state {
                case .queued, .asking: .queued
                case .restoring: .restoring
                case .restored: .restored
                case .failed: .failed
                }
            tallies[stage] = (tallies[stage] ?? Tally()) + tally
        }
        let ends = count.pending.map { kind -> Timestamp? in
            let longest = context.rules(of: kind.storageClass).longest(kind.tier)
            guard let asked = kind.lastAskedAt, let longest else { return nil }
            return asked + longest
        }
        eta = ends.contains { $0 == nil } ? nil : ends.compactMap { $0 }.max()
    }
}
