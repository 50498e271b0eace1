//! What the candle plugins share: finding weights, choosing a device.
