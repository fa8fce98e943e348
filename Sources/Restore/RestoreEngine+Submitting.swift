internal import Logging
internal import Metadata
internal import ObjectStore
internal import ThawCore
internal import Wire

/// What shares a provider's limits, and how far they are used.
struct Lane {
    let limits: RestoreLimits
    var pace: SubmissionPace
    /// Bytes of the last day, where the provider has a ceiling.
    var spent: Spending
    /// Requests that are on their way.
    var underWay = 0
    var isRunning = false
    /// Something was queued since the lane last looked.
    var isNudged = false
    var alarm = Alarm()
    /// When the day's bytes allow the next object.
    var heldBackUntil: Timestamp?
}

extension RestoreEngine {
    private static let submissionsAtOnce = 64
    private static let attemptsMax = 5
    /// Of many, nobody waits for one: some eight hours.
    private static let attemptsOfManyMax = 100
    private static let dailyWindow = Duration.seconds(86400)

    // MARK: Lanes

    func pumpQueuedLanes() async throws(MetadataError) {
        for (name, from) in try await writer.queuedLanes() { pump(name, from: from) }
    }

    /// Sees to it that the lane's queued objects are asked for, from that time on.
    func pump(_ name: String, from time: Timestamp = .epoch) {
        if lanes[name] == nil { lanes[name] = newLane(name) }
        guard time <= clock.date() else {
            lanes[name]?.alarm.set(clock.instant(of: time), clock) { await self.alarmRang(name) }
            return
        }
        lanes[name]?.isNudged = true
        guard lanes[name]?.isRunning == false else { return }
        lanes[name]?.isRunning = true
        Task { await self.run(name) }
    }

    private func alarmRang(_ name: String) {
        lanes[name]?.alarm.clear()
        pump(name)
    }

    private func newLane(_ name: String) -> Lane {
        let limits = RestoreLimits.known.first { $0.lane == name }
            ?? RestoreLimits(lane: name, objectsPerSecond: 100, bytesPerDay: nil)
        return Lane(
            limits: limits, pace: SubmissionPace(perSecondMax: limits.objectsPerSecond, at: clock.now()),
            spent: Spending(window: Self.dailyWindow))
    }

    private enum Step {
        case submit([RestoreRow])
        /// The pace allows nothing before then.
        case pause(until: ContinuousClock.Instant)
        /// Nothing can be asked for before then; nil: before something is queued or has come back.
        case rest(until: ContinuousClock.Instant?)
    }

    private func run(_ name: String) async {
        await loadSpent(name)
        while true {
            lanes[name]?.isNudged = false
            switch await step(name) {
            case .submit(let rows):
                lanes[name]?.underWay += rows.count
                for row in rows { Task { await self.submit(row) } }
            case .pause(let time):
                // Nobody cancels this task.
                try? await clock.sleep(time)
            case .rest(let time):
                guard lanes[name]?.isNudged == false else { continue }
                lanes[name]?.isRunning = false
                if let time { lanes[name]?.alarm.set(time, clock) { await self.alarmRang(name) } }
                return
            }
        }
    }

    /// Claims what the lane may send now, or says when it may send more.
    private func step(_ name: String) async -> Step {
        guard let free = lanes[name].map({ Self.submissionsAtOnce - $0.underWay }), free > 0 else {
            return .rest(until: nil)
        }
        let (now, date) = (clock.now(), clock.date())
        let allowance = min(lanes[name]?.pace.allowance(at: now) ?? 0, free)
        do throws(MetadataError) {
            var isFree = allowance > 0
            if isFree {
                let claim = try await claim(name, atMost: allowance, at: date)
                if !claim.rows.isEmpty { return .submit(claim.rows) }
                if claim.isHeldBack, let relief = heldBack(name) { return .rest(until: relief) }
                isFree = !claim.isHeldBack
            }
            guard let next = try await writer.nextQueued(lane: name) else { return .rest(until: nil) }
            if next > date { return .rest(until: clock.instant(of: next)) }
            // Queued since the claim.
            if isFree { return .submit([]) }
            return .pause(until: lanes[name]?.pace.nextAllowance(after: now) ?? now)
        } catch {
            log.error("restores of \(name) are held up, will try again: \(error)")
            return .rest(until: clock.now() + Self.pauseOfStorage)
        }
    }

    private func claim(
        _ name: String, atMost limit: Int, at date: Timestamp
    ) async throws(MetadataError) -> RestoreClaim {
        let bytesLeft = lanes[name]?.bytesLeft(at: date.minute)
        let isUnspent = bytesLeft == lanes[name]?.limits.bytesPerDay
        var claim = try await writer.claim(lane: name, limit: limit, bytesMax: bytesLeft, at: date)
        if claim.rows.isEmpty, claim.isHeldBack, isUnspent {
            // One object that is larger than a whole day's bytes goes alone.
            claim = try await writer.claim(lane: name, limit: 1, bytesMax: .max, at: date)
        }
        lanes[name]?.take(claim.rows, at: date.minute)
        return claim
    }

    /// When the day's bytes are fewer.
    private func heldBack(_ name: String) -> ContinuousClock.Instant? {
        guard let lane = lanes[name], let relief = lane.spent.nextRelief else { return nil }
        let date = Timestamp(seconds: relief * 60)
        if lane.heldBackUntil == nil {
            log.notice(
                "the provider restores no more than \(lane.limits.bytesPerDay ?? 0) bytes a day of \(name): the next are asked for from \(WireDate.iso8601(date)) on")
        }
        lanes[name]?.heldBackUntil = date
        return clock.instant(of: date)
    }

    private func loadSpent(_ name: String) async {
        guard var lane = lanes[name], lane.limits.bytesPerDay != nil, lane.spent.nextRelief == nil else { return }
        let first = lane.spent.firstMinute(at: clock.date().minute)
        do throws(MetadataError) {
            for charge in try await writer.spending(of: name, since: first) {
                lane.spent.charge(charge.bytes, at: charge.minute)
            }
            lanes[name]?.spent = lane.spent
        } catch {
            log.error("how many bytes of \(name) were asked for today is not known: \(error)")
        }
    }

    // MARK: One object

    private func submit(_ row: RestoreRow) async {
        do throws(StoreError) {
            let reply = try await store.restore(row.key, version: row.version, row.order)
            lanes[row.lane]?.pace.accepted()
            await accepted(row, reply)
        } catch where error.kind == .cancelled {
            // The mount ends: whether it got there, the next one finds out.
        } catch {
            await giveBack(row)
            await refused(row, error)
        }
        let wasFull = lanes[row.lane]?.underWay == Self.submissionsAtOnce
        lanes[row.lane]?.underWay -= 1
        if wasFull { pump(row.lane) }
    }

    /// Nothing is restored for this one, so that the day's bytes are for others.
    private func giveBack(_ row: RestoreRow) async {
        guard lanes[row.lane]?.limits.bytesPerDay != nil else { return }
        lanes[row.lane]?.spent.refund(row.retrievedBytes)
        if lanes[row.lane]?.heldBackUntil != nil { pump(row.lane) }
        do throws(MetadataError) {
            try await writer.refund(Charge(account: row.lane, bytes: row.retrievedBytes))
        } catch {
            log.warning("\(row.retrievedBytes) bytes of \(row.lane) count as asked for, and were not: \(error)")
        }
    }

    private func accepted(_ row: RestoreRow, _ reply: RestoreReply) async {
        if reply == .alreadyRestored {
            await giveBack(row)
            // Nobody waits for one of many: until when it lasts, the next listing tells.
            if row.isOneOfMany { return await settle(Settlement(row: row, event: .extended, outcome: .readable)) }
            return await settleByLooking(row)
        }
        let level: Logger.Level = row.isOneOfMany ? .debug : .info
        log.log(
            level: level, "restore of \(row.key) \(reply == .started ? "started" : "is under way already")",
            metadata: ["class": "\(row.storageClass.name)", "tier": "\(row.order.tier?.rawValue ?? "none")"])
        await settle(
            Settlement(row: row, event: .accepted(isOurs: reply == .started), outcome: .underWay))
    }

    private func refused(_ row: RestoreRow, _ error: StoreError) async {
        let now = clock.date()
        switch error.kind {
        case .noSuchKey:
            say(.warning, error.code, of: row, "\(row.key) was deleted before it could be restored: \(error)")
            await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.gone), isGone: true))
        case .notArchived:
            await settleByLooking(row, insisting: error)
        case .tierUnavailable:
            await tierRefused(row, error)
        case .throttled:
            if lanes[row.lane]?.pace.throttled(retryAfter: error.retryAfter, at: clock.now()) ?? false {
                log.notice(
                    "the store asks to slow down (\(error)): restores of \(row.lane) go as fast as it takes them; thawfs status tells the rate")
            }
            // It may take long, and nothing is lost: nobody is made to wait for the provider's answer.
            let event = RestoreEvent.later(.epoch, reason: "\(error)", isStrike: false)
            await settle(Settlement(row: row, event: event, outcome: .underWay))
        default:
            let strikesMax = row.isOneOfMany ? Self.attemptsOfManyMax : Self.attemptsMax
            guard error.isTransient, row.strikes + 1 < strikesMax else {
                if row.slowTier != nil { return await tierRefused(row, error) }
                report(row, error)
                return await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.store(error))))
            }
            // A store that is out of reach is not asked for thousands at full speed.
            if row.isOneOfMany { _ = lanes[row.lane]?.pace.throttled(retryAfter: nil, at: clock.now()) }
            let ceiling = Duration.milliseconds(200) * (1 << min(row.strikes, 11))
            let pause = max(error.retryAfter ?? .zero, min(ceiling, .seconds(300)) * Double.random(in: 0.5...1))
            if row.strikes + 1 == Self.attemptsMax {
                let line = "restore of \(row.key) does not get through, will go on trying: \(error)"
                say(.warning, error.code, of: row, line)
            }
            await settle(Settlement(row: row, event: .later(now + pause, reason: "\(error)", isStrike: true)))
        }
    }

    func tierRefused(_ row: RestoreRow, _ error: StoreError) async {
        let tier = row.order.tier?.rawValue ?? ""
        let fallback = context.rules(of: row).defaultTier
        if row.slowTier != nil {
            let line = "tier \(tier) of \(row.key) is refused: \(error); its restore goes on as it is"
            say(.warning, error.code, of: row, line)
            await settle(Settlement(row: row, event: .tierRefused, outcome: .underWay))
        } else if let fallback, fallback != row.order.tier {
            let line = "no capacity for tier \(tier) of \(row.key): \(error); asking for \(fallback.rawValue)"
            say(.warning, error.code, of: row, line)
            await settle(Settlement(row: row, event: .tierRefused))
        } else {
            report(row, error)
            await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.store(error))))
        }
    }

    /// Whoever waits says it.
    private func report(_ row: RestoreRow, _ error: StoreError) {
        guard waiters[Identity(key: row.key, version: row.version)] == nil else { return }
        say(.warning, error.code, of: row, "restore of \(row.key) failed: \(error)")
    }

    /// Of many, one line for each kind of news a minute: their request says at its end how many failed.
    func say(_ level: Logger.Level, _ kind: String, of row: RestoreRow, _ line: String) {
        let now = clock.now()
        if row.isOneOfMany, let last = lastSaid[kind], now - last < .seconds(60) { return }
        lastSaid[kind] = now
        log.log(level: level, "\(line)")
    }

    // MARK: Storing what happened

    /// Stores the event, with those of others that come at the same time, and tells those who wait.
    func settle(_ settlement: Settlement) async { await settle([settlement]) }

    func settle(_ settlements: [Settlement]) async {
        outbox += settlements
        guard !isFlushing else { return }
        isFlushing = true
        while !outbox.isEmpty {
            let batch = outbox
            outbox = []
            if await !apply(batch) { settleLater(batch) }
        }
        isFlushing = false
        await scheduleLook()
    }

    /// What became of a request is known only here: it is stored as soon as that is possible, and those are told who
    /// have come meanwhile.
    private func settleLater(_ batch: [Settlement]) {
        Task {
            do { try await clock.sleep(clock.now() + Self.pauseOfStorage) } catch { return }
            await settle(batch.map { Settlement(row: $0.row, event: $0.event, outcome: $0.outcome) })
        }
    }

    /// Takes in what was learned, then stores the events, then tells those who wait: whoever comes in between finds a
    /// readable object, or one that is in care. False when the events were not stored.
    @discardableResult
    func apply(_ batch: [Settlement]) async -> Bool {
        var isStored = true
        let news = batch.filter { $0.record != nil || $0.isGone }
        if !news.isEmpty { await learned(news.map { ($0.row.key, $0.row.version, $0.record) }) }
        let moment = RestoreMoment(context: context, now: clock.date())
        do throws(MetadataError) {
            let changes = try await writer.change(batch.map { ($0.row.id, $0.event) }, at: moment.now) {
                $0.after($1, moment)
            }
            for row in changes.rows {
                if row.state == .queued { pump(row.lane, from: row.dueAt) }
                holdOn(row)
            }
            spentByReads.refund(changes.refundedBytes)
            await note(changes.finished)
        } catch {
            log.error("what became of \(batch.count) restores cannot be stored, will try again: \(error)")
            isStored = false
            looksNotBefore = clock.now() + Self.pauseOfStorage
        }
        for settlement in batch {
            // Not before it shows: whoever reads it in the log may open the file at once.
            if case .readable = settlement.event {
                let level: Logger.Level = settlement.row.isOneOfMany ? .debug : .info
                log.log(level: level, "\(settlement.row.key) is restored")
            }
            guard let outcome = settlement.outcome else { continue }
            tell(Identity(key: settlement.row.key, version: settlement.row.version), outcome)
        }
        return isStored
    }
}

extension Lane {
    /// Bytes that may still be asked for today; nil for no limit.
    mutating func bytesLeft(at minute: Int64) -> UInt64? {
        limits.bytesPerDay.map { $0 - min(spent.total(at: minute), $0) }
    }

    mutating func take(_ rows: [RestoreRow], at minute: Int64) {
        pace.take(rows.count)
        if !rows.isEmpty { heldBackUntil = nil }
        guard limits.bytesPerDay != nil else { return }
        for row in rows { spent.charge(row.retrievedBytes, at: minute) }
    }
}
