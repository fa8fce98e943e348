/// The network loop: takes commands from its inbox, keeps up to `connectionsMax` transfers in libcurl's hands and the
/// rest in a queue, and ends each exactly once. Confined to its thread from the start of `run`.
final class Loop {
    private let inbox: Inbox
    private let configuration: HTTPClient.Configuration
    private let poller: Poller
    private let multi: Multi
    private var inFlight: [UInt64: Transfer] = [:]
    /// In order of arrival. Kept here and not inside libcurl, which would count the wait as time to connect.
    private var waiting: [Transfer] = []
    private var idle: [Easy] = []

    init(inbox: Inbox, configuration: HTTPClient.Configuration) throws(HTTPError) {
        self.inbox = inbox
        self.configuration = configuration
        poller = try Poller()
        multi = try Multi(poller: poller, connectionsMax: configuration.connectionsMax)
        poller.watch(inbox.descriptor, for: .readable)
    }

    /// Returns after `Inbox.stop`, when everything has been ended with `.cancelled`.
    func run() {
        var isStopped = false
        while !isStopped {
            var hasCommands = false
            poller.wait(timeoutMilliseconds: multi.waitMilliseconds) { descriptor, readiness in
                if descriptor == inbox.descriptor {
                    hasCommands = true
                } else {
                    multi.act(descriptor, readiness)
                }
            }
            multi.actIfDue()
            finishCompleted()
            if hasCommands { isStopped = takeCommands() }
            startWaiting()
        }
        for transfer in waiting { transfer.finish(.cancelled) }
        for transfer in inFlight.values { end(transfer, .cancelled) }
    }

    /// Answers whether the loop must end.
    private func takeCommands() -> Bool {
        let (commands, isStopped) = inbox.take()
        for command in commands {
            switch command {
            case .start(let submission):
                waiting.append(Transfer(submission, collectedBytesMax: configuration.collectedBytesMax))
            case .cancel(let id):
                cancel(id)
            }
        }
        return isStopped
    }

    private func cancel(_ id: UInt64) {
        if let transfer = inFlight[id] {
            end(transfer, .cancelled)
        } else if let index = waiting.firstIndex(where: { $0.id == id }) {
            waiting.remove(at: index).finish(.cancelled)
        }
    }

    private func startWaiting() {
        let count = min(waiting.count, configuration.connectionsMax - inFlight.count)
        for transfer in waiting.prefix(count) {
            let easy = idle.popLast() ?? Easy(configuration: configuration)
            transfer.easy = easy
            inFlight[transfer.id] = transfer
            easy.attach(transfer)
            multi.add(easy)
        }
        waiting.removeFirst(count)
    }

    private func finishCompleted() {
        while let (transfer, failure) = multi.nextFinished() { end(transfer, failure) }
    }

    private func end(_ transfer: Transfer, _ failure: HTTPError?) {
        inFlight[transfer.id] = nil
        if let easy = transfer.easy {
            multi.remove(easy)
            easy.detach()
            transfer.easy = nil
            idle.append(easy)
        }
        transfer.finish(failure)
    }
}
