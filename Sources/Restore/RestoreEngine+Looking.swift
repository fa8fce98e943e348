internal import Logging
internal import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

/// A restored copy that is in use.
struct Hold {
    var users = 0
    let target: RestoreTarget
    var until: Timestamp
    /// When it is asked for again.
    var renewAt: Timestamp
    /// It was asked for again.
    var isRenewing = false
    var alarm = Alarm()

    init(target: RestoreTarget, until: Timestamp, at now: Timestamp) {
        self.target = target
        self.until = until
        renewAt = PollSchedule.renewal(until: until, at: now)
    }

    /// The copy was given up: there is nothing to be renewed before another is there.
    var isGivenUp: Bool { renewAt == .distantFuture }

    mutating func giveUp() {
        alarm.cancel()
        (until, renewAt, isRenewing) = (.epoch, .distantFuture, false)
    }
}

extension RestoreEngine {
    private static let rowsAtOnce = 1000
    /// Between two looks at what waits to be asked for with a faster tier.
    private static let raisedApart = Duration.seconds(900)

    // MARK: Looking at what is due

    /// Sets the alarm for the next object that is due. Looks are half a second apart at least, and rest as long as they
    /// took.
    func scheduleLook() async {
        let next: Timestamp?
        let isRaised: Bool
        do throws(MetadataError) {
            next = try await writer.nextDue()
            isRaised = try await !writer.raised(after: (.empty, nil), limit: 1).isEmpty
        } catch {
            log.error("cannot tell which restores are to be looked at, will try again: \(error)")
            return lookAlarm.set(clock.now() + Self.pauseOfStorage, clock) { await self.look() }
        }
        guard !isLooking else { return }
        raisedDue = isRaised ? raisedDue ?? clock.now() + Self.raisedApart : nil
        let due = next.map { clock.instant(of: min($0, clock.date() + .seconds(86400))) }
        guard let time = [due, raisedDue].compactMap({ $0 }).min() else { return }
        lookAlarm.set(max(time, looksNotBefore), clock) { await self.look() }
    }

    /// Looks at a row ahead of its time, because somebody comes for it.
    func hasten(_ row: RestoreRow) async {
        if row.state == .queued, row.slowTier != nil {
            raisedDue = clock.now()
            return await scheduleLook()
        }
        guard row.state == .restoring, isLooking || row.dueAt > clock.date() else { return }
        await hasten(row.key, version: row.version)
    }

    /// Looks at the object soon, if the provider is at work on it.
    package func hasten(_ key: ObjectKey, version: String?) async {
        // A look that is under way may write down when the next is due, from what it saw before this.
        if isLooking { hastenedMeanwhile.insert(Identity(key: key, version: version)) }
        do throws(MetadataError) {
            if try await writer.hasten(key, version: version) { return await scheduleLook() }
            guard raisedDue != nil, let row = try await reader.restore(of: key, version: version) else { return }
            if row.state == .queued { await hasten(row) }
        } catch {
            log.error("\(key) is not looked at ahead of its time: \(error)")
        }
    }

    private func look() async {
        lookAlarm.clear()
        guard !isLooking else { return }
        isLooking = true
        let started = clock.now()
        var position: (key: ObjectKey, version: String?) = (.empty, nil)
        do throws(MetadataError) {
            while true {
                let rows = try await writer.due(
                    by: clock.date() + .milliseconds(500), after: position, limit: Self.rowsAtOnce)
                guard let last = rows.last else { break }
                position = (last.key, last.version)
                let (copies, awaited) = (rows.filter { $0.state == .restored }, rows.filter { $0.state == .restoring })
                if !copies.isEmpty { await apply(copies.map { Settlement(row: $0, event: .renew) }) }
                if !awaited.isEmpty { await look(at: awaited, along: try await neighbours(of: awaited)) }
            }
            try await lookAtRaised()
        } catch {
            log.error("restores that are under way cannot be looked at, will try again: \(error)")
            looksNotBefore = clock.now() + Self.pauseOfStorage
        }
        isLooking = false
        looksNotBefore = max(looksNotBefore, clock.now() + max(.milliseconds(500), clock.now() - started))
        let hastened = hastenedMeanwhile
        hastenedMeanwhile = []
        for identity in hastened { await hasten(identity.key, version: identity.version) }
        await scheduleLook()
    }

    /// What the provider is at work on may be there before it is asked for with a faster tier.
    private func lookAtRaised() async throws(MetadataError) {
        guard let due = raisedDue, due <= clock.now() else { return }
        raisedDue = clock.now() + Self.raisedApart
        var position: (key: ObjectKey, version: String?) = (.empty, nil)
        while true {
            let rows = try await writer.raised(after: position, limit: Self.rowsAtOnce)
            guard let last = rows.last else { return }
            position = (last.key, last.version)
            await look(at: rows, along: [])
        }
    }

    /// What is not due yet but stands behind the first of them: it comes with the same listings, and is then due with
    /// them.
    private func neighbours(of rows: [RestoreRow]) async throws(MetadataError) -> [RestoreRow] {
        guard let first = rows.first(where: { $0.version == nil })?.key else { return [] }
        let due = Set(rows.map(\.id))
        return try await writer.restoring(from: first, limit: 2 * Self.rowsAtOnce).filter { !due.contains($0.id) }
    }

    private func look(at due: [RestoreRow], along others: [RestoreRow]) async {
        let along = Set(others.map { Identity(key: $0.key, version: $0.version) })
        var rows = due + others
        if !others.isEmpty { rows.sort { ($0.key, $0.version ?? "") < ($1.key, $1.version ?? "") } }
        let seen = await bulkHead.look(at: rows.map { Identity(key: $0.key, version: $0.version) }, along: along)
        // Of those that were not due only good news counts: two looks at a lost restore stand some time apart.
        let sightings = zip(rows, seen).filter { row, sighting in
            guard along.contains(Identity(key: row.key, version: row.version)) else { return true }
            guard case .found(let record) = sighting else { return false }
            return context.state(of: record, at: clock.date()) != .frozen
        }
        var (failures, lastFailure) = (0, "")
        var settlements: [Settlement] = []
        for (row, sighting) in sightings {
            if case .failed(let error) = sighting { (failures, lastFailure) = (failures + 1, "\(error)") }
            settlements.append(settlement(of: row, sighting))
        }
        if failures > 0 {
            let what = due.count == 1 ? "the restore of \(due[0].key)" : "\(failures) restores"
            log.warning("cannot ask about \(what), will again: \(lastFailure)")
        }
        await apply(settlements)
    }

    private func settlement(of row: RestoreRow, _ sighting: BulkHead.Sighting) -> Settlement {
        switch sighting {
        case .failed:
            return Settlement(row: row, event: .unseen)
        case .gone:
            say(.warning, "deleted", of: row, "\(row.key) was deleted while it was being restored")
            return Settlement(
                row: row, event: .failed("deleted while it was being restored"), outcome: .failed(.gone), isGone: true)
        case .found(let record):
            switch context.state(of: record, at: clock.date()) {
            case .online:
                return Settlement(row: row, event: .readable(until: nil), outcome: .readable, record: record)
            case .restored(let until):
                return Settlement(row: row, event: .readable(until: until), outcome: .readable, record: record)
            case .restoring:
                return Settlement(row: row, event: .ongoing, record: row.state == .asking ? record : nil)
            case .frozen:
                if row.state == .restoring, !row.etag.isEmpty, record.etag != row.etag {
                    let reason = "replaced while it was being restored"
                    say(.warning, reason, of: row, "\(row.key) was \(reason), by an object that is frozen")
                    return Settlement(
                        row: row, event: .failed(reason), outcome: .failed(.failed(reason)), record: record)
                }
                guard row.state == .restoring, row.strikes + 1 >= RestoreRow.strikesMax else {
                    return Settlement(row: row, event: .frozen)
                }
                let reason = "the provider ended the restore without a readable copy"
                say(.error, reason, of: row, "\(reason): \(row.key); ask again with setfattr -n user.thaw.restore")
                return Settlement(row: row, event: .frozen, outcome: .failed(.failed(reason)), record: record)
            }
        }
    }

    /// Looks at one object that the store says needs no restore now; `insisting` is what it said.
    func settleByLooking(_ row: RestoreRow, insisting refusal: StoreError? = nil) async {
        let sighting = await bulkHead.head(Identity(key: row.key, version: row.version))
        var settlement = settlement(of: row, sighting)
        if refusal == nil, case .failed(let error) = sighting {
            settlement = Settlement(row: row, event: .extended, outcome: .readable)
            log.warning("\(row.key) is restored, until when could not be asked: \(error)")
        } else if refusal == nil, case .frozen = settlement.event {
            // Said to be restored, and not seen to be: asking again would tell no more.
            settlement = Settlement(row: row, event: .extended)
        } else if refusal == nil, row.slowTier != nil, case .ongoing = settlement.event {
            settlement = Settlement(row: row, event: .extended)
        } else if case .readable = settlement.event {
            if let refusal { settlement.outcome = .needless(refusal) }
        } else if let refusal {
            if row.slowTier != nil { return await tierRefused(row, refusal) }
            settlement = Settlement(row: row, event: .failed("\(refusal)"), outcome: .failed(.store(refusal)))
            say(.warning, refusal.code, of: row, "restore of \(row.key) failed: \(refusal)")
        }
        await settle(settlement)
    }

    /// Finds out which requests reached the provider before a crash: what was asked for is not asked for again.
    func lookAfterCrash(_ rows: [RestoreRow]) async {
        for start in stride(from: 0, to: rows.count, by: Self.rowsAtOnce) {
            let batch = Array(rows[start..<min(start + Self.rowsAtOnce, rows.count)])
            let sightings = await bulkHead.look(at: batch.map { Identity(key: $0.key, version: $0.version) })
            var settlements: [Settlement] = []
            for (row, sighting) in zip(batch, sightings) {
                var settlement = settlement(of: row, sighting)
                switch settlement.event {
                // Asking again is right even if it reached the provider: better twice than never.
                case .unseen, .frozen: settlement = Settlement(row: row, event: .unsent)
                // The provider was at work before this was asked for: a faster tier.
                case .ongoing where row.slowTier != nil: settlement = Settlement(row: row, event: .unsent)
                case .ongoing: settlement.outcome = .underWay
                // A copy was there before this was asked for: more days.
                case .readable(let until)
                where row.copyUntil != nil && row.order.isLonger(than: until, at: clock.date()):
                    settlement = Settlement(row: row, event: .unsent)
                default: break
                }
                settlements.append(settlement)
            }
            await settle(settlements)
        }
    }

    // MARK: Copies in use

    /// The object's restored copy is in use until `release`: it is renewed when it would lapse.
    package nonisolated func hold(_ target: RestoreTarget, until: Timestamp) {
        let identity = Identity(key: target.key, version: target.version)
        let isNew = holds.withLock { holds in
            let users = holds[identity]?.users ?? 0
            let isNew = holds[identity]?.isGivenUp ?? true
            if isNew { holds[identity] = Hold(target: target, until: until, at: clock.date()) }
            holds[identity]?.users = users + 1
            return isNew
        }
        if isNew { scheduleRenewal(identity) }
    }

    package nonisolated func release(_ key: ObjectKey, version: String?) {
        let identity = Identity(key: key, version: version)
        holds.withLock { holds in
            guard let users = holds[identity]?.users else { return }
            if users > 1 {
                holds[identity]?.users = users - 1
            } else {
                holds[identity]?.alarm.cancel()
                holds[identity] = nil
            }
        }
    }

    private nonisolated func scheduleRenewal(_ identity: Identity) {
        holds.withLock { holds in
            guard let time = holds[identity]?.renewAt, time < .distantFuture else { return }
            holds[identity]?.alarm.set(clock.instant(of: time), clock) { await self.renew(identity) }
        }
    }

    private func renew(_ identity: Identity) async {
        let held = holds.withLock { holds in
            holds[identity]?.alarm.clear()
            return holds[identity]
        }
        // Closed since.
        guard var target = held?.target, let until = held?.until, let renewAt = held?.renewAt else { return }
        // Somebody else has had it last longer since.
        guard renewAt <= clock.date() else { return scheduleRenewal(identity) }
        // Others may have made it last longer, or given it up: that is neither shortened nor retrieved again.
        switch await bulkHead.head(identity) {
        case .failed(let error): return renewLater(identity, "\(error)")
        case .gone: return
        case .found(let record):
            await learned([(identity.key, identity.version, record)])
            guard case .restored(let lasting?) = context.state(of: record, at: clock.date()) else { return }
            if lasting > until + .seconds(60) { return keepHolding(identity, until: lasting) }
            target.record = record
        }
        let isWanted = holds.withLock { holds in
            guard let renewAt = holds[identity]?.renewAt, renewAt <= clock.date() else { return false }
            holds[identity]?.isRenewing = true
            return true
        }
        // Closed, or given up, since.
        guard isWanted else { return }
        log.info("\(identity.key) is open and its copy lapses at \(WireDate.iso8601(until)): it is asked for again")
        let order = RestoreOrder(days: target.rules.days.lowerBound, tier: target.rules.defaultTier)
        do throws(RestoreError) {
            let requester = Requester(.command, "thawfs, for whoever has it open")
            _ = try await obtain(target, order, for: requester, until: .submission)
        } catch {
            renewalFailed(identity, "\(error)")
        }
    }

    private func renewalFailed(_ identity: Identity, _ reason: String) {
        guard holds.withLock({ $0[identity]?.isRenewing }) ?? false else { return }
        renewLater(identity, reason)
    }

    /// Tries again half-way to the copy's end, as long as that makes sense.
    private func renewLater(_ identity: Identity, _ reason: String) {
        let now = clock.date()
        let rest: Duration? = holds.withLock { holds in
            guard let until = holds[identity]?.until, until > now + .seconds(1) else { return nil }
            holds[identity]?.isRenewing = false
            holds[identity]?.renewAt = now + (until - now) / 2
            return until - now
        }
        log.warning("the copy of \(identity.key), which is open, cannot be asked for again: \(reason)")
        if rest != nil { scheduleRenewal(identity) }
    }

    private func keepHolding(_ identity: Identity, until: Timestamp) {
        holds.withLock { holds in
            holds[identity]?.until = until
            holds[identity]?.renewAt = PollSchedule.renewal(until: until, at: clock.date())
        }
        scheduleRenewal(identity)
    }

    /// What a look said of a copy in use.
    func holdOn(_ row: RestoreRow) {
        let identity = Identity(key: row.key, version: row.version)
        if !row.state.isPending, let error = row.error { return renewalFailed(identity, error) }
        guard row.state == .restored, let until = row.copyUntil, until > .epoch else { return }
        let (lastsLonger, isAtItsEnd) = holds.withLock { holds in
            guard var hold = holds[identity] else { return (false, false) }
            let lastsLonger = until > hold.until + .seconds(60)
            let isAtItsEnd = hold.isRenewing && !lastsLonger
            hold.until = until
            hold.isRenewing = false
            if lastsLonger { hold.renewAt = PollSchedule.renewal(until: until, at: clock.date()) }
            holds[identity] = hold
            return (lastsLonger, isAtItsEnd)
        }
        if lastsLonger { scheduleRenewal(identity) }
        if isAtItsEnd {
            log.notice("\(row.key) is open, and its copy cannot last longer than \(WireDate.iso8601(until))")
        }
    }
}
