import Metadata
import ObjectStore
import Testing
import ThawCore
import Wire

@testable import Restore

private let now = Timestamp(seconds: 1_800_000_000)

private func row(
    _ state: RestoreRow.State, tier: RestoreTier? = .standard, days: Int? = 3, class name: String = "ColdArchive"
) -> RestoreRow {
    var row = RestoreRow(
        key: ObjectKey("k"), version: nil, state: state, storageClass: StorageClass(name), lane: "",
        order: RestoreOrder(days: days, tier: tier), sizeBytes: 5, etag: "e", isOneOfMany: false)
    row.id = 7
    return row
}

@Suite("what events make of an object under care")
struct RestoreEventsTests {
    private let moment = RestoreMoment(context: ArchiveContext(dialect: .oss, hasDirectRead: false), now: now)

    @Test("accepted, it is restoring from now on, with a clean slate and a time to look")
    func accepted() {
        var asking = row(.asking)
        (asking.slowTier, asking.strikes, asking.copyUntil) = (.bulk, 3, now)
        let after = asking.after(.accepted(isOurs: true), moment)
        #expect(after.state == .restoring && after.askedAt == now && after.slowTier == nil && after.strikes == 0)
        #expect(after.copyUntil == nil && after.dueAt > now && after.dueAt <= now + .seconds(5 * 3600))
    }

    @Test("extended, it is looked at soon: until when the copy lasts, only a look tells")
    func extended() {
        let after = row(.asking).after(.extended, moment)
        #expect(after.state == .restoring && after.dueAt == now && after.askedAt == now)
    }

    @Test("a refused tier falls back to the class's default, and a refused faster one to what is under way")
    func tierRefused() {
        let fallen = row(.asking, tier: .expedited).after(.tierRefused, moment)
        #expect(fallen.state == .queued && fallen.order.tier == .standard && fallen.lane == "oss-cold-archive")
        var raised = row(.asking, tier: .expedited)
        raised.slowTier = .bulk
        let kept = raised.after(.tierRefused, moment)
        #expect(kept.state == .restoring && kept.order.tier == .bulk && kept.slowTier == nil)
    }

    @Test("put off, it is queued again for then; only a strike is remembered")
    func later() {
        let then = now + .seconds(9)
        let struck = row(.asking).after(.later(then, reason: "busy", isStrike: true), moment)
        #expect(struck.state == .queued && struck.dueAt == then && struck.strikes == 1 && struck.error == "busy")
        let throttled = row(.asking).after(.later(then, reason: "busy", isStrike: false), moment)
        #expect(throttled.state == .queued && throttled.strikes == 0 && throttled.error == nil)
        // Once it got through, that is over.
        for event in [RestoreEvent.accepted(isOurs: true), .extended, .readable(until: nil)] {
            #expect(struck.after(event, moment).error == nil)
        }
    }

    @Test("failed, it is failed, unless a copy is there that was only to last longer")
    func failed() {
        let failed = row(.asking).after(.failed("no"), moment)
        #expect(failed.state == .failed && failed.error == "no" && failed.dueAt == now)
        var copy = row(.asking)
        copy.copyUntil = now + .seconds(60)
        let kept = copy.after(.failed("no"), moment)
        #expect(kept.state == .restored && kept.error == "no" && kept.dueAt == .distantFuture)
    }

    @Test("seen restoring, or not seen at all, it is looked at again")
    func ongoing() {
        var restoring = row(.restoring)
        (restoring.strikes, restoring.askedAt) = (2, now - .seconds(600))
        let ongoing = restoring.after(.ongoing, moment)
        #expect(ongoing.state == .restoring && ongoing.strikes == 0 && ongoing.dueAt > now)
        #expect(ongoing.askedAt == now - .seconds(600))
        let unseen = restoring.after(.unseen, moment)
        #expect(unseen.state == .restoring && unseen.strikes == 2 && unseen.dueAt > now)
    }

    @Test("seen restoring after a crash, it had been asked for")
    func ongoingAfterCrash() { #expect(row(.asking).after(.ongoing, moment).state == .restoring) }

    @Test("what a look saw before a faster tier was asked for leaves it to the reply; what is refused leaves a copy alone",
        arguments: [RestoreEvent.ongoing, .unseen, .frozen])
    func lookWhileRaising(event: RestoreEvent) {
        var raised = row(.asking, tier: .expedited)
        raised.slowTier = .bulk
        #expect(raised.after(event, moment) == raised)
        let there = raised.after(.readable(until: nil), moment)
        #expect(there.state == .restored && there.after(.tierRefused, moment) == there)
    }

    @Test("what a look saw before a faster tier was wished for does not keep that from being asked for",
        arguments: [RestoreEvent.ongoing, .unseen, .frozen])
    func staleLook(event: RestoreEvent) {
        var raised = row(.queued, tier: .expedited)
        raised.slowTier = .bulk
        #expect(raised.after(event, moment) == raised)
        #expect(raised.after(.readable(until: nil), moment).state == .restored)
    }

    @Test("readable, it is renewed an hour before the copy's end, or half way to it, or never without a date")
    func readable() {
        let long = row(.restoring).after(.readable(until: now + .seconds(86400)), moment)
        #expect(long.state == .restored && long.copyUntil == now + .seconds(86400))
        #expect(long.dueAt == now + .seconds(82800))
        #expect(row(.restoring).after(.readable(until: now + .seconds(600)), moment).dueAt == now + .seconds(300))
        let forGood = row(.restoring).after(.readable(until: nil), moment)
        #expect(forGood.state == .restored && forGood.copyUntil == .epoch && forGood.dueAt == .distantFuture)
    }

    @Test("a copy that was asked for again and lasts no longer is not asked for a third time")
    func atTheMaximum() {
        let end = now + .seconds(3600)
        var renewed = row(.restoring)
        renewed.copyUntil = end
        #expect(renewed.after(.readable(until: end), moment).dueAt == .distantFuture)
        #expect(renewed.after(.readable(until: end + .seconds(7200)), moment).dueAt < .distantFuture)
    }

    @Test("more days that were wished for meanwhile are asked for once the copy is there")
    func moreDays() {
        var restoring = row(.restoring)
        restoring.moreDays = 30
        let queued = restoring.after(.readable(until: now + .seconds(60)), moment)
        #expect(queued.state == .queued && queued.order.days == 30 && queued.moreDays == nil && queued.dueAt == .epoch)
        #expect(queued.copyUntil == now + .seconds(60) && queued.lane == "oss-cold-archive")
    }

    @Test("what never got there is queued; seen frozen while it is restored, the third time counts")
    func frozen() {
        #expect(row(.asking).after(.unsent, moment).state == .queued)
        var lost = row(.restoring)
        for strike in 1...3 {
            lost = lost.after(.frozen, moment)
            #expect(lost.strikes == strike && lost.state == (strike < 3 ? .restoring : .failed))
        }
        #expect(lost.error != nil)
    }

    @Test("only a copy that still stands is renewed, after everything that somebody named")
    func renew() {
        let queued = row(.restored).after(.renew, moment)
        #expect(queued.state == .queued && queued.isOneOfMany && queued.dueAt == .epoch)
        for state in [RestoreRow.State.queued, .asking, .restoring, .failed] {
            #expect(row(state).after(.renew, moment) == row(state))
        }
    }
}

@Suite("a wish for what is under care already")
struct MergeTests {
    private func merged(_ known: RestoreRow?, _ wished: RestoreRow, isNamed: Bool = true) throws -> RestoreRow {
        try #require(RestoreRow.merge(known, wished, isNamed: isNamed))
    }

    @Test("what nobody has in care is taken as it is wished for")
    func unknown() throws { #expect(try merged(nil, row(.queued)) == row(.queued)) }

    @Test("queued, the longest days and the fastest tier of commands count; a read changes neither")
    func queued() throws {
        let known = row(.queued, tier: .bulk, days: 7)
        let wished = row(.queued, tier: .expedited, days: 3)
        #expect(try merged(known, wished).order == RestoreOrder(days: 7, tier: .expedited))
        #expect(try merged(known, row(.queued, tier: .bulk, days: 9)).order == RestoreOrder(days: 9, tier: .bulk))
        #expect(try merged(known, wished, isNamed: false).order == known.order)
        let tierless = row(.queued, tier: nil, days: nil)
        #expect(try merged(tierless, tierless).order == tierless.order)
    }

    @Test("one of many that somebody names or reads goes first; one that was named stays named")
    func rank() throws {
        var many = row(.queued)
        many.isOneOfMany = true
        #expect(try !merged(many, row(.queued), isNamed: false).isOneOfMany)
        #expect(try !merged(row(.queued), many).isOneOfMany)
        #expect(try merged(many, many).isOneOfMany)
    }

    @Test("during a restore more days are kept for its end, the most of them, and only a command's",
        arguments: [RestoreRow.State.asking, .restoring])
    func moreDays(state: RestoreRow.State) throws {
        var known = row(state)
        known = try merged(known, row(.queued, days: 30))
        known = try merged(known, row(.queued, days: 7))
        #expect(known.moreDays == 30 && known.state == state && known.order.days == 3)
        #expect(try merged(row(state), row(.queued, days: 30), isNamed: false).moreDays == nil)
        // The copy may be somebody else's, and be shorter: that shows when it is there.
        #expect(try merged(row(state), row(.queued, days: 2)).moreDays == 2)
    }

    @Test("during a restore a faster tier is queued at once, remembering the slower one that goes on")
    func faster() throws {
        var wished = row(.queued, tier: .expedited)
        wished.lane = "lane"
        let raised = try merged(row(.restoring, tier: .bulk), wished)
        #expect(raised.state == .queued && raised.slowTier == .bulk && raised.order.tier == .expedited)
        #expect(raised.lane == "lane" && raised.dueAt == .epoch)
        for tier in [RestoreTier.standard, .bulk] {
            let kept = try merged(row(.restoring), row(.queued, tier: tier))
            #expect(kept.state == .restoring && kept.order == row(.restoring).order)
        }
        #expect(try merged(row(.asking, tier: .bulk), wished).state == .asking)
        #expect(try merged(row(.restoring, tier: .bulk), wished, isNamed: false).state == .restoring)
    }

    @Test("what is settled is wished for afresh, under its id; a copy that is known to be there stays as it is")
    func settled() throws {
        for state in [RestoreRow.State.restored, .failed] {
            var known = row(state, days: 1)
            (known.error, known.strikes) = ("old", 3)
            var fresh = row(.queued, days: 9)
            fresh.id = 0
            let merged = try merged(known, fresh, isNamed: false)
            #expect(merged.id == 7 && merged.state == .queued && merged.order.days == 9)
            #expect(merged.error == nil && merged.strikes == 0)
        }
        #expect(try merged(row(.restored, days: 1), row(.restored, days: 9)) == row(.restored, days: 1))
        #expect(try merged(row(.failed), row(.restored)).state == .restored)
    }
}
