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
    var isRunning = false
    /// Something was queued since the lane last looked.
    var isNudged = false
    var alarm = Alarm()
    /// Why it pauses, for people.
    var pauseReason: String?
}

extension RestoreEngine {
    private static let submissionsAtOnce = 64
    private static let attemptsMax = 5
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
        let known: [RestoreLimits] = [.ossArchive, .ossColdArchive, .ossDeepColdArchive, .s3]
        let limits = known.first { $0.lane == name }
            ?? RestoreLimits(lane: name, objectsPerSecond: 100, bytesPerDay: nil)
        return Lane(
            limits: limits, pace: SubmissionPace(perSecondMax: limits.objectsPerSecond, at: clock.now()),
            spent: Spending(window: Self.dailyWindow))
    }

    private func run(_ name: String) async {
        await loadSpent(name)
        await withTaskGroup(of: Void.self) { group in
            var underWay = 0
            while !Task.isCancelled {
                lanes[name]?.isNudged = false
                let rows = await claim(name, atMost: Self.submissionsAtOnce - underWay)
                for row in rows {
                    underWay += 1
                    group.addTask { await self.submit(row) }
                }
                if underWay >= Self.submissionsAtOnce || rows.isEmpty && underWay > 0 {
                    await group.next()
                    underWay -= 1
                } else if rows.isEmpty, lanes[name]?.isNudged != true {
                    break
                }
            }
        }
        lanes[name]?.isRunning = false
        if lanes[name]?.isNudged ?? false { return pump(name) }
        do throws(MetadataError) {
            // What was put off until later.
            let next = try await writer.queuedLanes().first { $0.lane == name }
            if let next { pump(name, from: next.from) }
        } catch {
            unreadable(name, error)
        }
    }

    /// Claims what the lane may send now; sleeps until it may send anything. Empty when nothing is queued.
    private func claim(_ name: String, atMost limit: Int) async -> [RestoreRow] {
        while limit > 0, !Task.isCancelled {
            let now = clock.now()
            guard var lane = lanes[name] else { return [] }
            let allowance = min(lane.pace.allowance(at: now), limit)
            let minute = clock.date().minute
            let bytesLeft = lane.bytesLeft(at: minute)
            let isUnspent = lane.spent.total(at: minute) == 0
            lanes[name]?.pace = lane.pace
            lanes[name]?.spent = lane.spent
            do throws(MetadataError) {
                // With no allowance nothing is taken, but it shows whether anything is there to wait for.
                if allowance > 0 {
                    var rows = try await writer.claim(
                        lane: name, limit: allowance, bytesMax: bytesLeft, at: clock.date())
                    if rows.isEmpty, isUnspent, bytesLeft != nil {
                        // One object that is larger than a whole day's bytes goes alone.
                        rows = try await writer.claim(lane: name, limit: 1, bytesMax: .max, at: clock.date())
                    }
                    lanes[name]?.count(rows, at: minute)
                    lanes[name]?.pace.take(rows.count)
                    if !rows.isEmpty { return rows }
                }
                let queued = try await writer.queuedLanes().first { $0.lane == name }
                guard let queued, queued.from <= clock.date() else { return [] }
            } catch {
                unreadable(name, error)
                return []
            }
            guard await sleep(name, isOverCeiling: allowance > 0) else { return [] }
        }
        return []
    }

    private func sleep(_ name: String, isOverCeiling: Bool) async -> Bool {
        guard let lane = lanes[name] else { return false }
        var wakeup = lane.pace.nextAllowance(after: clock.now())
        if isOverCeiling, let relief = lane.spent.nextRelief {
            let date = Timestamp(seconds: relief * 60)
            wakeup = max(wakeup, clock.instant(of: date))
            if lane.pauseReason == nil {
                log.notice(
                    "the provider restores no more than \(lane.limits.bytesPerDay ?? 0) bytes a day of \(name): the next are asked for from \(WireDate.iso8601(date)) on")
            }
            lanes[name]?.pauseReason = "the provider's bytes of a day are used up"
        }
        do { try await clock.sleep(wakeup) } catch { return false }
        lanes[name]?.pauseReason = nil
        return true
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
            unreadable(name, error)
        }
    }

    private func unreadable(_ name: String, _ error: MetadataError) {
        log.error("restores of \(name) are held up, will try again: \(error)")
        lanes[name]?.alarm.set(clock.now() + .seconds(5), clock) { await self.alarmRang(name) }
    }

    // MARK: One object

    private func submit(_ row: RestoreRow) async {
        do throws(StoreError) {
            let reply = try await store.restore(row.key, version: row.version, row.order)
            lanes[row.lane]?.pace.accepted()
            await accepted(row, reply)
        } catch {
            await refused(row, error)
        }
    }

    private func accepted(_ row: RestoreRow, _ reply: RestoreReply) async {
        if reply == .alreadyRestored {
            // Nobody waits for one of many: until when it lasts, the next listing tells.
            if row.isOneOfMany { return await settle(Settlement(row: row, event: .extended, outcome: .readable)) }
            return await settleByLooking(row)
        }
        let level: Logger.Level = row.isOneOfMany ? .debug : .info
        log.log(
            level: level, "restore of \(row.key) \(reply == .started ? "started" : "is under way already")",
            metadata: ["class": "\(row.storageClass.name)", "tier": "\(row.order.tier?.rawValue ?? "none")"])
        await settle(Settlement(row: row, event: .accepted, outcome: .underWay))
    }

    private func refused(_ row: RestoreRow, _ error: StoreError) async {
        let now = clock.date()
        switch error.kind {
        case .noSuchKey:
            log.warning("\(row.key) was deleted before it could be restored: \(error)")
            await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.gone), isGone: true))
        case .notArchived:
            await settleByLooking(row, insisting: error)
        case .tierUnavailable:
            await tierRefused(row, error)
        case .throttled:
            if lanes[row.lane]?.pace.throttled(retryAfter: error.retryAfter, at: clock.now()) ?? false {
                let rate = Int(lanes[row.lane]?.pace.perSecond ?? 1)
                log.notice("the store asks to slow down (\(error)): restores of \(row.lane) go at \(rate)/s now")
            }
            await settle(Settlement(row: row, event: .later(now, reason: "\(error)", isStrike: false)))
        case .cancelled:
            await settle(Settlement(row: row, event: .later(now, reason: "\(error)", isStrike: false)))
        default:
            guard error.isTransient, row.isOneOfMany || row.strikes + 1 < Self.attemptsMax else {
                report(row, error)
                return await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.store(error))))
            }
            let ceiling = Duration.milliseconds(200) * (1 << min(row.strikes, 11))
            let pause = max(error.retryAfter ?? .zero, min(ceiling, .seconds(300)) * Double.random(in: 0.5...1))
            if row.strikes + 1 == Self.attemptsMax {
                log.warning("restore of \(row.key) does not get through, will go on trying: \(error)")
            }
            await settle(Settlement(row: row, event: .later(now + pause, reason: "\(error)", isStrike: true)))
        }
    }

    private func tierRefused(_ row: RestoreRow, _ error: StoreError) async {
        let tier = row.order.tier?.rawValue ?? ""
        let fallback = context.rules(of: row).defaultTier
        if row.slowTier != nil {
            log.warning("no capacity for tier \(tier) of \(row.key): \(error); its restore goes on as it is")
            await settle(Settlement(row: row, event: .tierRefused, outcome: .underWay))
        } else if let fallback, fallback != row.order.tier {
            log.warning("no capacity for tier \(tier) of \(row.key): \(error); asking for \(fallback.rawValue)")
            await settle(Settlement(row: row, event: .tierRefused))
        } else {
            report(row, error)
            await settle(Settlement(row: row, event: .failed("\(error)"), outcome: .failed(.store(error))))
        }
    }

    /// Whoever waits says it. Of many, one line for each kind of failure a minute: their request says at its end how
    /// many failed.
    private func report(_ row: RestoreRow, _ error: StoreError) {
        guard waiters[Identity(key: row.key, version: row.version)] == nil else { return }
        let now = clock.now()
        if row.isOneOfMany, let last = lastSubmissionFailure, last.code == error.code, now - last.time < .seconds(60) {
            return
        }
        lastSubmissionFailure = (error.code, now)
        log.warning("restore of \(row.key) failed: \(error)")
    }

    // MARK: Storing what happened

    /// Stores the event, with those of others that come at the same time, and tells those who wait.
    func settle(_ settlement: Settlement) async {
        outbox.append(settlement)
        guard !isFlushing else { return }
        isFlushing = true
        while !outbox.isEmpty {
            let batch = outbox
            outbox = []
            await apply(batch)
        }
        isFlushing = false
        await scheduleLook()
    }

    /// Takes in what was learned, then stores the events, then tells those who wait: whoever comes in between finds a
    /// readable object, or one that is in care.
    func apply(_ batch: [Settlement]) async {
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
            await note(changes.finished)
        } catch {
            log.error("what became of \(batch.count) restores cannot be stored, they will be looked at again: \(error)")
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
    }
}

extension Lane {
    /// Bytes that may still be asked for today; nil for no limit.
    mutating func bytesLeft(at minute: Int64) -> UInt64? {
        limits.bytesPerDay.map { $0 - min(spent.total(at: minute), $0) }
    }

    mutating func count(_ rows: [RestoreRow], at minute: Int64) {
        guard limits.bytesPerDay != nil else { return }
        for row in rows { spent.charge(row.sizeBytes, at: minute) }
    }
}
