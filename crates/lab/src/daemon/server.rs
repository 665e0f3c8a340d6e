//! Answering the commands: one request a connection, side by side.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::lab::{Lab, LabError};
use crate::qemu::NicId;
use crate::wire::{Capture, Impairment, PcapWriter, Percent};

use super::protocol::{Power, Reply, Request};

/// How long a machine may take to switch itself off.
const POWER_DOWN_BOUND: Duration = Duration::from_mins(1);
/// A request is a name and a command line; nobody needs more.
const REQUEST_LIMIT: u64 = 1024 * 1024;

/// Serves until somebody asks for the end.
pub(super) async fn serve(lab: &Arc<Lab>, listener: UnixListener) {
    let end = Arc::new(Notify::new());
    // dropped with this function, and the connections with it
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(attend(lab.clone(), stream, end.clone()));
                }
                Err(error) => tracing::warn!(%error, "connection not accepted"),
            },
            Some(_) = clients.join_next() => {}
            () = end.notified() => return,
        }
    }
}

async fn attend(lab: Arc<Lab>, stream: UnixStream, end: Arc<Notify>) {
    match answer(&lab, stream).await {
        Ok(true) => end.notify_one(),
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "client gone"),
    }
}

/// True when the lab is to end.
async fn answer(lab: &Lab, stream: UnixStream) -> io::Result<bool> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    (&mut reader).take(REQUEST_LIMIT).read_until(b'\n', &mut line).await?;
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            send(&mut writer, &Reply::Failed { reason: format!("bad request: {error}") }).await?;
            return Ok(false);
        }
    };
    if let Request::Capture { wire } = &request
        && let Ok(wire) = lab.wire(wire)
    {
        let capture = wire.capture();
        send(&mut writer, &Reply::Done).await?;
        return stream_capture(capture, &mut writer, &mut reader).await.map(|()| false);
    }
    let down = request == Request::Down;
    let reply = carry_out(lab, request).await.unwrap_or_else(|error| refusal(&error));
    send(&mut writer, &reply).await?;
    Ok(down)
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

fn refusal(error: &LabError) -> Reply {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    Reply::Failed { reason }
}

async fn carry_out(lab: &Lab, request: Request) -> Result<Reply, LabError> {
    match request {
        Request::Status => return Ok(Reply::Status(lab.status().await)),
        Request::Exec { node, line, timeout_s } => {
            let bound = Duration::from_secs(timeout_s);
            return Ok(Reply::Output(lab.host(&node)?.sh_within(&line, bound).await?));
        }
        Request::Cut { wire, cut: true } => lab.wire(&wire)?.cut(),
        Request::Cut { wire, cut: false } => lab.wire(&wire)?.heal(),
        Request::Loss { wire, percent } => set_loss(lab, &wire, percent)?,
        Request::Delay { wire, delay_ms, jitter_ms } => {
            let wire = lab.wire(&wire)?;
            let changed = Impairment { delay_ms, jitter_ms, ..wire.impairment() };
            changed.check().map_err(LabError::Impairment)?;
            wire.set_impairment(changed);
        }
        Request::Power { node, to } => power(lab, &node, to).await?,
        Request::Carrier { node, nic, up } => {
            lab.machine(&node)?.set_carrier(NicId(nic), up).await?;
        }
        Request::Unplug { node, nic } => lab.machine(&node)?.unplug_nic(NicId(nic)).await?,
        Request::Monitor { node, command, arguments } => {
            return Ok(Reply::Answer(lab.machine(&node)?.monitor(&command, arguments).await?));
        }
        // reached for a wire that is not there
        Request::Capture { wire } => lab.wire(&wire).map(drop)?,
        Request::Down => {}
    }
    Ok(Reply::Done)
}

fn set_loss(lab: &Lab, wire: &str, loss_percent: Percent) -> Result<(), LabError> {
    let wire = lab.wire(wire)?;
    wire.set_impairment(Impairment { loss_percent, ..wire.impairment() });
    Ok(())
}

async fn power(lab: &Lab, node: &str, to: Power) -> Result<(), LabError> {
    let machine = lab.machine(node)?;
    match to {
        Power::On => machine.power_on().await?,
        Power::Cut => machine.power_cut().await?,
        Power::Off => machine.power_down(POWER_DOWN_BOUND).await?,
        Power::Reset => machine.reset().await?,
        Power::Pause => machine.pause().await?,
        Power::Resume => machine.resume().await?,
    }
    Ok(())
}

/// Sends frames until the client closes its side or goes away.
async fn stream_capture(
    mut capture: Capture,
    writer: &mut (impl AsyncWriteExt + Unpin),
    reader: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<()> {
    let mut pcap = PcapWriter::new(Vec::new())?;
    let mut byte = [0];
    loop {
        writer.write_all(&pcap.take()).await?;
        tokio::select! {
            frame = capture.frame() => match frame {
                Some(frame) => pcap.write(frame.time, &frame.bytes)?,
                None => return Ok(()),
            },
            _ = reader.read(&mut byte) => break,
        }
    }
    // what passed before the client had enough is part of the capture
    for frame in capture.drain() {
        pcap.write(frame.time, &frame.bytes)?;
    }
    writer.write_all(&pcap.take()).await
}
